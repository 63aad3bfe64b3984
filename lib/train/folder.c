// The files that a run writes into its folder: docs/run-folder.md.
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "base/text.h"
#include "train/train.h"

enum { METRICS_LIMIT = 1 << 28 };

static qn_status join(const char *folder, const char *name,
                      char path[QN_PATH_SIZE], qn_error *error)
{
    int length = snprintf(path, QN_PATH_SIZE, "%s/%s", folder, name);
    if (length >= QN_PATH_SIZE)
        return qn_fail(error, QN_BAD_ARGUMENT, "the path %.100s... is too "
                       "long", folder);
    return QN_OK;
}

// ---- config.json ----

qn_status qn_folder_write_config(const char *folder, const json_t *settings,
                                 qn_error *error)
{
    char path[QN_PATH_SIZE];
    QN_TRY(join(folder, "config.json", path, error));
    // For people: 0.9 is not 0.90000000000000002 there.
    char *text = json_dumps(settings,
                            JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    if (!text)
        return qn_fail_memory(error, 1);
    struct qn_os_part parts[] = {{text, strlen(text)}, {"\n", 1}};
    qn_status status = qn_os_replace_file(path, parts, 2, error);
    free(text);
    return status;
}

// ---- checkpoints ----

qn_status qn_folder_save(const char *folder, const char *name,
                         qn_store *store, const json_t *settings,
                         const struct qn_run_state *state, qn_error *error)
{
    char path[QN_PATH_SIZE];
    QN_TRY(join(folder, name, path, error));
    json_t *state_json = qn_state_json(state);
    char *run_text = json_dumps(settings, JSON_COMPACT);
    char *state_text = state_json ? json_dumps(state_json, JSON_COMPACT)
                                  : NULL;
    qn_status status;
    struct qn_checkpoint_note notes[] = {{"quern.run", run_text},
                                         {"quern.state", state_text}};
    if (run_text && state_text)
        status = qn_checkpoint_save(path, store, notes, 2, error);
    else
        status = qn_fail_memory(error, 1);
    json_decref(state_json);
    free(run_text);
    free(state_text);
    return status;
}

// ---- metrics.jsonl, steps.jsonl ----

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static qn_status append(const char *path, const char *line, qn_error *error)
{
    FILE *file = fopen(path, "ab");
    if (!file)
        return qn_fail(error, QN_IO, "cannot open %s: %s", path,
                       strerror(errno));
    bool written = fprintf(file, "%s\n", line) > 0;
    if (fclose(file) != 0 || !written)
        return qn_fail(error, QN_IO, "cannot write %s: %s", path,
                       strerror(errno));
    return QN_OK;
}

// Appends `json`, which it takes over, as a line.
static qn_status add_line(const char *folder, const char *name, json_t *json,
                          qn_error *error)
{
    char path[QN_PATH_SIZE];
    char *line = json ? json_dumps(json, JSON_REAL_PRECISION(9)) : NULL;
    json_decref(json);
    if (!line)
        return qn_fail_memory(error, 1);
    qn_status status = join(folder, name, path, error);
    if (status == QN_OK)
        status = append(path, line, error);
    free(line);
    return status;
}

// NULL, for no such key, where no schedule changes it.
static json_t *momentum_json(const qn_progress *progress)
{
    return isnan(progress->momentum) ? NULL : json_real(progress->momentum);
}

qn_status qn_folder_add_metrics(const char *folder, const qn_progress *end,
                                qn_error *error)
{
    const bool has_average = !isnan(end->average_test_accuracy);
    json_t *json = json_pack(
        "{si sI sI so so so so so so so so* so* so*}", "epoch", end->epoch,
        "step",
        (json_int_t)end->step, "skipped_steps",
        (json_int_t)end->skipped_steps, "train_loss", number(end->loss),
        "train_accuracy", number(end->accuracy), "test_loss",
        number(end->test_loss), "test_accuracy", number(end->test_accuracy),
        "lr", number(end->lr), "seconds", number(end->seconds),
        "samples_per_second", number(end->samples_per_second), "momentum",
        momentum_json(end), "average_test_loss",
        has_average ? number(end->average_test_loss) : NULL,
        "average_test_accuracy",
        has_average ? number(end->average_test_accuracy) : NULL);
    return add_line(folder, "metrics.jsonl", json, error);
}

// "step" comes first: cutting relies on it.
qn_status qn_folder_add_step(const char *folder, const qn_progress *where,
                             double loss, qn_error *error)
{
    json_t *json = json_pack("{sI si so so so*}", "step",
                             (json_int_t)where->step, "epoch", where->epoch,
                             "loss", number(loss), "lr", number(where->lr),
                             "momentum", momentum_json(where));
    return add_line(folder, "steps.jsonl", json, error);
}

// Whether the line, one of `size` bytes, is to stay; `number` counts from 0.
typedef bool line_test(const unsigned char *line, size_t size, int64_t number,
                   int64_t limit);

static bool is_epoch_within(const unsigned char *line, size_t size,
                            int64_t number, int64_t limit)
{
    (void)line;
    (void)size;
    return number < limit;
}

static bool is_step_within(const unsigned char *line, size_t size,
                           int64_t number, int64_t limit)
{
    char text[64];
    long long step;
    (void)number;
    snprintf(text, sizeof text, "%.*s", (int)(size < 60 ? size : 60), line);
    return sscanf(text, "{\"step\": %lld,", &step) == 1 && step <= limit;
}

// Bytes of the first whole lines that are to stay.
static size_t lines_size(const unsigned char *data, size_t size,
                         int64_t limit, line_test *keeps)
{
    size_t end = 0;
    int64_t number = 0;
    for (size_t i = 0; i < size; i++) {
        if (data[i] != '\n')
            continue;
        if (!keeps(data + end, i - end, number++, limit))
            break;
        end = i + 1;
    }
    return end;
}

static qn_status cut(const char *folder, const char *name, int64_t limit,
                     line_test *keeps, qn_error *error)
{
    char path[QN_PATH_SIZE];
    unsigned char *data;
    size_t size;
    QN_TRY(join(folder, name, path, error));
    if (!qn_os_is_file(path))
        return QN_OK;
    QN_TRY(qn_os_read_file(path, METRICS_LIMIT, &data, &size, error));
    size_t keep = lines_size(data, size, limit, keeps);
    free(data);
    return keep == size ? QN_OK : qn_os_truncate_file(path, keep, error);
}

qn_status qn_folder_cut_metrics(const char *folder, int epochs,
                                qn_error *error)
{
    return cut(folder, "metrics.jsonl", epochs, is_epoch_within, error);
}

qn_status qn_folder_cut_steps(const char *folder, int64_t steps,
                              qn_error *error)
{
    return cut(folder, "steps.jsonl", steps, is_step_within, error);
}

// ---- lr_range.jsonl ----

qn_status qn_folder_add_range(const char *folder, int64_t step,
                              const struct qn_lr_point *point,
                              qn_error *error)
{
    json_t *json = json_pack("{sI so so so}", "step", (json_int_t)step, "lr",
                             number(point->lr), "loss", number(point->loss),
                             "smooth_loss", number(point->smooth_loss));
    return add_line(folder, "lr_range.jsonl", json, error);
}

qn_status qn_folder_cut_range(const char *folder, qn_error *error)
{
    return cut(folder, "lr_range.jsonl", 0, is_step_within, error);
}
