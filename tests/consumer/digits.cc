// A C++ program outside the tree: trains a model on the embedded digits.
#include <cstdio>
#include <cstdlib>

#include <quern/quern.h>

int main()
{
    qn_error error{};
    qn_fit_result result{};
    qn_device *device = qn_device_open(nullptr, &error);
    qn_dataset *digits = qn_dataset_open("digits", &error);
    qn_model *model = qn_model_create("32-relu-10", &error);
    if (device && digits && model) {
        qn_fit_params params = qn_fit_defaults();
        params.model = model;
        params.dataset = digits;
        params.optimizer = "adam";
        params.epochs = 10;
        params.batch_size = 32;
        qn_fit(device, &params, &result, &error);
    }
    qn_model_destroy(&model);
    qn_dataset_destroy(&digits);
    qn_device_close(&device);
    std::printf("test accuracy %.3f %s\n", result.test_accuracy, error.text);
    return result.test_accuracy > 0.9 ? EXIT_SUCCESS : EXIT_FAILURE;
}
