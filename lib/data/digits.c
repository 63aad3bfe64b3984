// The embedded digits: 1,797 images of 8x8 pixels from 0 to 16, 10 classes.
// Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI
// Machine Learning Repository, CC BY 4.0 (https://doi.org/10.24432/C50P49),
// as scikit-learn ships it: lines of 64 pixels and the label, gzip.
//
// The split is fixed: of each class, in the order of the file, 36 samples at
// even distances are for testing (number floor((2 j + 1) n / 72) of n, for j
// from 0 to 35), the others for training: 360 and 1,437.
#include "data/data.h"

#include <stdlib.h>
#include <string.h>

#include "data/digits_csv.h"

enum {
    SAMPLES = 1797,
    PIXELS = 64,
    CLASSES = 10,
    TEST_PER_CLASS = 36,
    TEST = CLASSES * TEST_PER_CLASS,
    TEXT_SIZE = 264712, // inflated
};

// Marks the samples of the test part.
static void choose_test(const unsigned char *rows, bool in_test[SAMPLES])
{
    int n[CLASSES] = {0}, at[CLASSES] = {0}, taken[CLASSES] = {0};
    for (int i = 0; i < SAMPLES; i++)
        n[rows[i * (PIXELS + 1) + PIXELS]]++;
    for (int i = 0; i < SAMPLES; i++) {
        int c = rows[i * (PIXELS + 1) + PIXELS];
        int next = (2 * taken[c] + 1) * n[c] / (2 * TEST_PER_CLASS);
        in_test[i] = taken[c] < TEST_PER_CLASS && at[c] == next;
        taken[c] += in_test[i];
        at[c]++;
    }
}

static bool allocate(qn_dataset *dataset)
{
    dataset->train_count = SAMPLES - TEST;
    dataset->test_count = TEST;
    dataset->train_x = malloc((SAMPLES - TEST) * PIXELS);
    dataset->test_x = malloc(TEST * PIXELS);
    dataset->train_y = malloc((SAMPLES - TEST) * sizeof(int32_t));
    dataset->test_y = malloc(TEST * sizeof(int32_t));
    return dataset->train_x && dataset->test_x && dataset->train_y &&
           dataset->test_y;
}

static void deal_out(const unsigned char *rows, qn_dataset *dataset)
{
    bool in_test[SAMPLES];
    int train = 0, test = 0;
    choose_test(rows, in_test);
    for (int i = 0; i < SAMPLES; i++) {
        const unsigned char *row = rows + i * (PIXELS + 1);
        int k = in_test[i] ? test++ : train++;
        memcpy((in_test[i] ? dataset->test_x : dataset->train_x) + k * PIXELS,
               row, PIXELS);
        (in_test[i] ? dataset->test_y : dataset->train_y)[k] = row[PIXELS];
    }
}

qn_status qn_digits_open(const char *folder, qn_dataset *dataset,
                         qn_error *error)
{
    (void)folder;
    unsigned char *text = malloc(TEXT_SIZE), *rows = NULL;
    int64_t count = 0;
    qn_status status = QN_OK;
    if (!text || !allocate(dataset))
        status = qn_fail_memory(error, TEXT_SIZE + SAMPLES * PIXELS);
    if (status == QN_OK)
        status = qn_gzip_inflate("digits", qn_digits_csv, qn_digits_csv_size,
                                 text, TEXT_SIZE, error);
    if (status == QN_OK)
        status = qn_csv_read("digits", (const char *)text, TEXT_SIZE,
                             PIXELS + 1, &rows, &count, error);
    if (status == QN_OK)
        deal_out(rows, dataset);
    dataset->shape = qn_shape_of(1, 8, 8);
    dataset->classes = CLASSES;
    dataset->offset = 0;
    dataset->scale = 1.0 / 16;
    free(rows);
    free(text);
    return status;
}
