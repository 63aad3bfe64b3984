// What is measured after each epoch: loss and accuracy of the parameters, and
// of their moving average where there is one.
#include <math.h>
#include <stdlib.h>

#include "train/train.h"

struct qn_tester {
    qn_device *device;
    qn_store *store;
    const struct qn_settings *settings;
    struct qn_predictor *plain, *average; // made at first use
    struct qn_statistics *statistics;     // NULL: the average uses those of
                                          // training
};

qn_status qn_tester_create(qn_device *device, qn_store *store,
                           const struct qn_settings *settings,
                           struct qn_tester **out, qn_error *error)
{
    struct qn_tester *tester = calloc(1, sizeof *tester);
    *out = NULL;
    if (!tester)
        return qn_fail_memory(error, sizeof *tester);
    *tester = (struct qn_tester){device, store, settings, NULL, NULL, NULL};
    qn_status status =
        settings->recompute_statistics
            ? qn_statistics_create(store, settings, &tester->statistics,
                                   error)
            : QN_OK;
    if (status != QN_OK)
        qn_tester_destroy(&tester);
    *out = tester;
    return status;
}

void qn_tester_destroy(struct qn_tester **tester)
{
    if (!tester || !*tester)
        return;
    qn_statistics_destroy(&(*tester)->statistics);
    qn_predictor_destroy(&(*tester)->average);
    qn_predictor_destroy(&(*tester)->plain);
    free(*tester);
    *tester = NULL;
}

static struct qn_predictor_params
describe_use(const struct qn_tester *tester, bool is_average)
{
    struct qn_predictor_params params =
        qn_settings_evaluation(tester->settings);
    if (is_average)
        params.parameters = QN_GROUP_AVERAGE;
    if (is_average && tester->statistics)
        params.buffers = QN_GROUP_AVERAGE_BUFFERS;
    return params;
}

static qn_status measure(struct qn_tester *tester,
                         struct qn_predictor **predictor, bool is_average,
                         double *loss, double *accuracy, qn_error *error)
{
    const qn_dataset *data = tester->settings->dataset;
    const struct qn_predictor_params params =
        describe_use(tester, is_average);
    if (!*predictor)
        QN_TRY(qn_predictor_create(tester->device, tester->store, &params,
                                   predictor, error));
    return qn_predictor_evaluate(*predictor, data->test_x, data->test_y, loss,
                                 accuracy, error);
}

static qn_status add_plans(const struct qn_tester *tester,
                           struct qn_footprint *footprint, qn_error *error)
{
    const int count = qn_around_has_average(tester->settings) ? 2 : 1;
    for (int i = 0; i < count; i++) {
        const struct qn_predictor_params params = describe_use(tester, i == 1);
        QN_TRY(qn_predictor_measure(tester->device, tester->store, &params,
                                    footprint, error));
    }
    return tester->statistics && count == 2
               ? qn_statistics_measure(tester->statistics, tester->device,
                                       tester->store, footprint, error)
               : QN_OK;
}

qn_status qn_tester_measure(qn_device *device, qn_store *sketch,
                            const struct qn_settings *settings,
                            struct qn_footprint *footprint, qn_error *error)
{
    struct qn_tester *tester;
    QN_TRY(qn_tester_create(device, sketch, settings, &tester, error));
    qn_status status = add_plans(tester, footprint, error);
    qn_tester_destroy(&tester);
    return status;
}

qn_status qn_tester_run(struct qn_tester *tester, struct qn_run_state *state,
                        qn_error *error)
{
    QN_TRY(measure(tester, &tester->plain, false, &state->test_loss,
                   &state->test_accuracy, error));
    if (!qn_around_has_average(tester->settings))
        return QN_OK;
    if (tester->statistics)
        QN_TRY(qn_statistics_run(tester->statistics, tester->device,
                                 tester->store, tester->settings->seed,
                                 error));
    return measure(tester, &tester->average, true, &state->average_test_loss,
                   &state->average_test_accuracy, error);
}
