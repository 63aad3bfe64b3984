// Short runs on a few of the digits.
#include "small_fit.h"

#include <stdio.h>
#include <string.h>

#include "qn_check.h"

qn_dataset small_few_digits(void)
{
    return qn_check_digits(150, 50);
}

qn_status small_try_run(struct qn_fit_params params, const char *model_name,
                        int64_t steps, const char *folder, qn_error *error)
{
    qn_dataset data = small_few_digits();
    qn_model *model = qn_check_model(model_name);
    qn_fit_result result;
    params.model = model;
    params.dataset = &data;
    params.batch_size = 64;
    params.epochs = 3;
    params.max_steps = steps;
    params.out = folder;
    qn_status status = qn_fit(qn_check_device(), &params, &result, error);
    qn_model_destroy(&model);
    return status;
}

qn_checkpoint *small_run_to(struct qn_fit_params params,
                            const char *model_name, int64_t steps)
{
    const char *folder = qn_check_path("run");
    char path[400];
    qn_error error = {0};
    ck_assert_ok(small_try_run(params, model_name, steps, folder, &error),
                 error);
    snprintf(path, sizeof path, "%s/last.safetensors", folder);
    qn_checkpoint *checkpoint = qn_checkpoint_open(path, &error);
    ck_assert_msg(checkpoint != NULL, "%s", error.text);
    return checkpoint;
}

struct tensor small_tensor_of(const qn_checkpoint *checkpoint,
                              const char *name)
{
    qn_checkpoint_tensor tensor;
    struct tensor copy = {0};
    int i = 0;
    while (qn_checkpoint_tensor_at(checkpoint, i++, &tensor))
        if (strcmp(tensor.name, name) == 0) {
            ck_assert_uint_le(tensor.size, sizeof copy.x);
            memcpy(copy.x, tensor.data, tensor.size);
            copy.count = (int)(tensor.size / sizeof(float));
            copy.shape = tensor.shape;
            return copy;
        }
    ck_abort_msg("no tensor %s", name);
    return copy;
}
