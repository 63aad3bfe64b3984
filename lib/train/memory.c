// Memory before anything is allocated: what a run will take of the device, and
// in which parts its batches fit. Lays plans out and throws them away.
#include <stdio.h>

#include "device/device.h"
#include "plan/store.h"
#include "train/train.h"

// ---- measuring ----

qn_status qn_footprint_add(struct qn_footprint *footprint, qn_device *device,
                           qn_store *sketch,
                           const struct qn_plan_params *params,
                           qn_error *error)
{
    qn_plan_stats stats;
    QN_TRY(qn_store_add(sketch, params->graph, error));
    QN_TRY(qn_plan_estimate(device, params, &stats, error));
    footprint->size += stats.own_size;
    if (stats.own_largest_size > footprint->largest)
        footprint->largest = stats.own_largest_size;
    return QN_OK;
}

// Bytes of the data set and of all else in a store.
static void divide_store(const qn_store *sketch, qn_fit_memory *memory)
{
    static const char *const groups[] = {QN_GROUP_IMAGES, QN_GROUP_LABELS,
                                         QN_GROUP_ORDER};
    qn_store_stats stats;
    qn_store_describe(sketch, &stats);
    memory->data_size = 0;
    for (int i = 0; i < 3; i++)
        memory->data_size += qn_store_group_size(sketch, groups[i]);
    memory->state_size = stats.size - memory->data_size;
    memory->largest_size = stats.largest_size;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static qn_status measure_plans(qn_device *device,
                               const struct qn_settings *settings,
                               qn_store *sketch, struct qn_footprint *steps,
                               struct qn_footprint *evaluation,
                               qn_error *error)
{
    struct qn_stepper *stepper;
    qn_status status;
    if (settings->minimizer.row) {
        status =
            qn_full_batch_measure(device, sketch, settings, steps, error);
    } else {
        QN_TRY(qn_stepper_create(settings, &stepper, error));
        status = qn_stepper_measure(stepper, device, sketch, steps, error);
        qn_stepper_destroy(&stepper);
    }
    return status == QN_OK ? qn_tester_measure(device, sketch, settings,
                                               evaluation, error)
                           : status;
}

static qn_status measure(qn_device *device,
                         const struct qn_settings *settings,
                         qn_fit_memory *memory, qn_error *error)
{
    struct qn_footprint steps = {0}, evaluation = {0};
    qn_store *sketch = qn_store_sketch(error);
    if (!sketch)
        return QN_NO_MEMORY;
    qn_status status = measure_plans(device, settings, sketch, &steps,
                                     &evaluation, error);
    *memory = (qn_fit_memory){.micro_batch = settings->micro_batch};
    divide_store(sketch, memory);
    qn_store_destroy(&sketch);
    memory->step_size = steps.size;
    memory->evaluation_size = evaluation.size;
    memory->largest_size = larger(memory->largest_size,
                                  larger(steps.largest, evaluation.largest));
    memory->peak_size = memory->data_size + memory->state_size +
                        memory->step_size + memory->evaluation_size;
    return status;
}

// ---- fitting ----

static int64_t free_size(const qn_device *device)
{
    return (int64_t)qn_device_describe(device)->memory_size -
           (int64_t)qn_device_memory(device).allocated;
}

static bool has_room(const qn_device *device, const qn_fit_memory *memory)
{
    return memory->peak_size <= free_size(device) &&
           memory->largest_size <=
               (int64_t)qn_device_describe(device)->max_alloc_size;
}

// Measures parts of so many samples, 0: whole batches. Evaluation, which is the
// same in any batches, is made smaller only where it has to be.
static qn_status try_parts(qn_device *device, struct qn_settings *settings,
                           int64_t part, qn_fit_memory *memory, bool *fits,
                           qn_error *error)
{
    settings->micro_batch = part;
    settings->evaluation_batch = 0;
    qn_fit_memory small;
    QN_TRY(measure(device, settings, memory, error));
    *fits = has_room(device, memory);
    if (*fits)
        return QN_OK;
    settings->evaluation_batch = part ? part : settings->batch_size;
    QN_TRY(measure(device, settings, &small, error));
    *fits = has_room(device, &small);
    if (*fits || part)
        *memory = small;
    return QN_OK;
}

// Statistics over a part need two samples, also in what is left over.
static bool is_good_part(const struct qn_settings *settings, int64_t part)
{
    int64_t rest = settings->dataset->train_count % settings->batch_size;
    return qn_find_mixing_layer(settings->model) < 0 ||
           (part > 1 && settings->batch_size % part != 1 && rest % part != 1);
}

// The size of `count` parts of a batch, as even as can be; 0: there is none.
static int64_t choose_part(const struct qn_settings *settings, int64_t count)
{
    int64_t batch = settings->batch_size;
    int64_t part = (batch + count - 1) / count, smaller = part;
    while (smaller > 0 && !is_good_part(settings, smaller))
        smaller--;
    if (smaller > 0)
        return smaller;
    while (part < batch && !is_good_part(settings, part))
        part++;
    return part < batch ? part : 0;
}

// The fewest parts that fit: more than `count`, which do not. Where not even
// the smallest do, `memory` is theirs.
static qn_status find_parts(qn_device *device, struct qn_settings *settings,
                            int64_t count, qn_fit_memory *memory, bool *fits,
                            qn_error *error)
{
    int64_t low = count + 1, high = settings->batch_size;
    *fits = false;
    if (low > high || choose_part(settings, high) == 0)
        return QN_OK;
    QN_TRY(try_parts(device, settings, choose_part(settings, high), memory,
                     fits, error));
    while (*fits && low < high) {
        bool is_enough = false;
        int64_t middle = low + (high - low) / 2;
        qn_fit_memory smaller;
        QN_TRY(try_parts(device, settings, choose_part(settings, middle),
                         &smaller, &is_enough, error));
        if (is_enough)
            high = middle;
        else
            low = middle + 1;
    }
    if (!*fits)
        return QN_OK;
    return try_parts(device, settings, choose_part(settings, high), memory,
                     fits, error);
}

// ---- what is said ----

struct size_text {
    char text[32];
};

static struct size_text in_units(double size)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    struct size_text text;
    int unit = 0;
    for (; size >= 1000 && unit < 4; unit++)
        size /= 1024;
    snprintf(text.text, sizeof text.text, unit ? "%.1f %s" : "%.0f %s", size,
             units[unit]);
    return text;
}

static const char *name_of(const qn_device *device)
{
    return qn_device_describe(device)->name;
}

// "needs 90.0 MiB, but NAME has 64.0 MiB to give"
static void describe_need(const qn_device *device, const qn_fit_memory *memory,
                          char *text, size_t size)
{
    int64_t room = free_size(device);
    int64_t piece = (int64_t)qn_device_describe(device)->max_alloc_size;
    if (memory->peak_size > room)
        snprintf(text, size, "needs %s, but %s has %s to give",
                 in_units((double)memory->peak_size).text, name_of(device),
                 in_units((double)room).text);
    else
        snprintf(text, size,
                 "needs %s in one piece, but %s allocates at most %s at once",
                 in_units((double)memory->largest_size).text, name_of(device),
                 in_units((double)piece).text);
}

// Nothing fits: `least` is what the smallest parts take.
static qn_status fail_short(const qn_device *device,
                            const qn_fit_memory *least, qn_error *error)
{
    int64_t piece = (int64_t)qn_device_describe(device)->max_alloc_size;
    int64_t missing = larger(least->peak_size - free_size(device),
                             least->largest_size - piece);
    char need[400];
    describe_need(device, least, need, sizeof need);
    return qn_fail(error, QN_DEVICE,
                   "training %s; %s are missing even in the smallest "
                   "parts (data set %s, parameters and optimizer %s, "
                   "steps %s, evaluation %s): take a smaller model, fewer "
                   "samples or another device", need,
                   in_units((double)missing).text,
                   in_units((double)least->data_size).text,
                   in_units((double)least->state_size).text,
                   in_units((double)least->step_size).text,
                   in_units((double)least->evaluation_size).text);
}

static qn_status fail_strict(const qn_device *device,
                             const struct qn_settings *settings,
                             const qn_fit_memory *asked, int64_t part,
                             qn_error *error)
{
    char need[400];
    describe_need(device, asked, need, sizeof need);
    return qn_fail(error, QN_DEVICE,
                   "training in batches of %lld %s: micro-batches of %lld fit "
                   "(--micro-batch %lld)", (long long)settings->batch_size,
                   need, (long long)part, (long long)part);
}

static qn_status fail_mixing(const qn_device *device,
                             const struct qn_settings *settings,
                             const qn_fit_memory *asked, int64_t part,
                             qn_error *error)
{
    char need[400];
    int layer = qn_find_mixing_layer(settings->model);
    describe_need(device, asked, need, sizeof need);
    return qn_fail(error, QN_DEVICE,
                   "training in batches of %lld %s, and micro-batches would "
                   "change the statistics of layer %s (%s): take smaller "
                   "batches, say of %lld (--batch-size)%s",
                   (long long)settings->batch_size, need,
                   qn_model_layer_path(settings->model, layer),
                   qn_layer_name(qn_model_layer_at(settings->model, layer)),
                   (long long)part,
                   settings->skips_nan
                       ? ""
                       : ", or let each micro-batch have statistics of its "
                         "own (--allow-micro-statistics)");
}

// Batches of a minimizer only save memory, but a run that goes on must have the
// same: so they are not chosen for it.
static qn_status fail_minimizer(qn_device *device,
                                const struct qn_settings *settings,
                                const qn_fit_memory *asked, qn_error *error)
{
    struct qn_settings trial = *settings;
    qn_fit_memory memory = *asked;
    bool fits = false;
    char need[400];
    bool divides = qn_find_mixing_layer(settings->model) < 0;
    while (divides && !fits && trial.batch_size > 1) {
        trial.batch_size /= 2;
        QN_TRY(try_parts(device, &trial, 0, &memory, &fits, error));
    }
    if (!fits)
        return fail_short(device, &memory, error);
    describe_need(device, asked, need, sizeof need);
    return qn_fail(error, QN_DEVICE,
                   "training %s: batches of %lld fit, to the same result "
                   "(--batch-size %lld)", need, (long long)trial.batch_size,
                   (long long)trial.batch_size);
}

// ---- before a run ----

qn_status qn_settings_fit(qn_device *device, struct qn_settings *settings,
                          qn_fit_memory *asked, qn_fit_memory *taken,
                          qn_error *error)
{
    struct qn_settings trial = *settings;
    int64_t first = settings->micro_batch ? settings->micro_batch
                                          : settings->batch_size;
    bool fits;
    // Better said of the data set, which no parts make smaller.
    QN_TRY(qn_feed_check(device, settings->dataset, error));
    QN_TRY(try_parts(device, &trial, settings->micro_batch, asked, &fits,
                     error));
    *taken = *asked;
    if (!fits && settings->minimizer.row)
        return fail_minimizer(device, settings, asked, error);
    if (!fits) {
        QN_TRY(find_parts(device, &trial,
                          (settings->batch_size + first - 1) / first, taken,
                          &fits, error));
        if (!fits)
            return fail_short(device, taken, error);
        if (qn_check_parts(&trial, NULL) != QN_OK ||
            (trial.skips_nan && qn_has_micro_statistics(&trial)))
            return fail_mixing(device, settings, asked, trial.micro_batch,
                               error);
        if (settings->is_strict)
            return fail_strict(device, settings, asked, trial.micro_batch,
                               error);
    }
    settings->micro_batch = trial.micro_batch;
    settings->evaluation_batch = trial.evaluation_batch;
    return QN_OK;
}

qn_status qn_settings_preflight(qn_device *device,
                                struct qn_settings *settings, qn_error *error)
{
    qn_fit_memory asked, taken;
    char need[400];
    QN_TRY(qn_settings_fit(device, settings, &asked, &taken, error));
    if (taken.micro_batch == asked.micro_batch)
        return QN_OK;
    describe_need(device, &asked, need, sizeof need);
    qn_log_write(qn_device_log(device), QN_LOG_WARNING,
                 "a step of %lld samples at once %s: it runs in micro-batches "
                 "of %lld, %s",
                 (long long)(asked.micro_batch ? asked.micro_batch
                                               : settings->batch_size),
                 need, (long long)taken.micro_batch,
                 qn_has_micro_statistics(settings)
                     ? "with statistics of their own"
                     : "to the same result");
    return QN_OK;
}

qn_status qn_fit_estimate(qn_device *device,
                          const struct qn_fit_params *params,
                          qn_fit_memory *asked, qn_fit_memory *taken,
                          qn_error *error)
{
    struct qn_settings settings;
    QN_REQUIRE(error, device && params);
    QN_REQUIRE(error, asked && taken);
    *asked = *taken = (qn_fit_memory){0};
    QN_TRY(qn_settings_resolve(params, &settings, error));
    return qn_settings_fit(device, &settings, asked, taken, error);
}
