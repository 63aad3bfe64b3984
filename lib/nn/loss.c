// Losses: short builders of op nodes that end in a scalar.
#include <string.h>

#include "quern/nn.h"
#include "quern/op.h"

// mean over the batch of log sum_j e^x_j - x_label
static qn_node *softmax_cross_entropy(qn_graph *g, qn_node *prediction,
                                      qn_node *target)
{
    return qn_mean(g, qn_softmax_cross_entropy(g, prediction, target), NULL);
}

// mean over all elements of (x - t)^2; labels become rows of 0 and 1
static qn_node *mean_squared(qn_graph *g, qn_node *prediction,
                             qn_node *target)
{
    if (!prediction || !target)
        return NULL;
    const qn_shape *shape = qn_node_shape(prediction);
    if (qn_node_dtype(target) == QN_INT32 && shape->rank > 0)
        target = qn_one_hot(g, target, shape->dims[shape->rank - 1]);
    return qn_mean(g, qn_square(g, qn_sub(g, prediction, target)), NULL);
}

static const struct qn_loss rows[] = {
    {"softmax_cross_entropy", "mean_n(log sum_j e^x_nj - x_n,label)",
     softmax_cross_entropy},
    {"mean_squared", "mean((x - t)^2), t one-hot where it is labels",
     mean_squared},
};
enum { ROW_COUNT = sizeof rows / sizeof *rows };

const struct qn_loss *qn_loss_at(int index)
{
    return index >= 0 && index < ROW_COUNT ? &rows[index] : NULL;
}

const struct qn_loss *qn_loss_find(const char *name)
{
    for (int i = 0; i < ROW_COUNT; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}
