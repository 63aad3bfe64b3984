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

// ---- metrics.jsonl ----

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

qn_status qn_folder_add_metrics(const char *folder, const qn_progress *end,
                                qn_error *error)
{
    char path[QN_PATH_SIZE];
    QN_TRY(join(folder, "metrics.jsonl", path, error));
    json_t *json = json_pack(
        "{si sI so so so so so so so}", "epoch", end->epoch, "step",
        (json_int_t)end->step, "train_loss", number(end->loss),
        "train_accuracy", number(end->accuracy), "test_loss",
        number(end->test_loss), "test_accuracy", number(end->test_accuracy),
        "lr", number(end->lr), "seconds", number(end->seconds),
        "samples_per_second", number(end->samples_per_second));
    char *line = json ? json_dumps(json, JSON_REAL_PRECISION(9)) : NULL;
    json_decref(json);
    if (!line)
        return qn_fail_memory(error, 1);
    qn_status status = append(path, line, error);
    free(line);
    return status;
}

// Bytes of the first `count` whole lines.
static size_t lines_size(const unsigned char *data, size_t size, int count)
{
    size_t end = 0;
    for (size_t i = 0; i < size && count > 0; i++)
        if (data[i] == '\n') {
            end = i + 1;
            count--;
        }
    return end;
}

qn_status qn_folder_cut_metrics(const char *folder, int epochs,
                                qn_error *error)
{
    char path[QN_PATH_SIZE];
    unsigned char *data;
    size_t size;
    QN_TRY(join(folder, "metrics.jsonl", path, error));
    if (!qn_os_is_file(path))
        return QN_OK;
    QN_TRY(qn_os_read_file(path, METRICS_LIMIT, &data, &size, error));
    size_t keep = lines_size(data, size, epochs);
    free(data);
    return keep == size ? QN_OK : qn_os_truncate_file(path, keep, error);
}
