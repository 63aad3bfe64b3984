// The built-in models. Texts in one of the two grammars; knows neither.
#include "nn/model.h"

// ---- pieces ----

#define DENSE(n) "{\"type\":\"dense\",\"units\":" #n "}"
#define DROPOUT(p) "{\"type\":\"dropout\",\"p\":" #p "}"
#define MODEL(layers) "{\"layers\":[" layers "]}"

// ---- the table ----

static const struct qn_model_row rows[] = {
    {"mlp", "512-relu-512-relu-10",
     "two hidden layers of 512, the usual first network for digits"},
    {"softmax-regression", "10", "one dense layer: the linear classifier"},
    {"maxout-mlp",
     MODEL(DROPOUT(0.2) ",{\"type\":\"maxout\",\"units\":240,\"pieces\":5}"
           "," DROPOUT(0.5) ",{\"type\":\"maxout\",\"units\":240,"
           "\"pieces\":5}," DROPOUT(0.5) "," DENSE(10)),
     "for digits; Goodfellow, Warde-Farley, Mirza, Courville, Bengio: Maxout "
     "networks, ICML 2013"},
};
enum { ROW_COUNT = sizeof rows / sizeof *rows };

const struct qn_model_row *qn_model_row_at(int index)
{
    return index >= 0 && index < ROW_COUNT ? &rows[index] : NULL;
}

const struct qn_model_row *qn_model_row_find(const char *name)
{
    for (int i = 0; i < ROW_COUNT; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}
