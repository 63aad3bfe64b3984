// The samples for training on the device, and the order in which steps take
// them.
#include <stdlib.h>

#include "device/device.h"
#include "train/train.h"

// The samples lie on the device in one piece.
qn_status qn_feed_check(const qn_device *device, const qn_dataset *data,
                        qn_error *error)
{
    const qn_device_info *info = qn_device_describe(device);
    const double mebibyte = 1024 * 1024;
    double size = (double)data->train_count *
                  (double)qn_shape_count(&data->shape);
    if (size <= (double)info->max_alloc_size &&
        size <= (double)info->memory_size)
        return QN_OK;
    return qn_fail(error, QN_DEVICE,
                   "the training samples of %s need %.1f MiB in one piece, "
                   "but %s allocates at most %.1f MiB at once: take another "
                   "device or fewer samples", data->name, size / mebibyte,
                   info->name, (double)info->max_alloc_size / mebibyte);
}

qn_status qn_feed_upload(struct qn_feed *feed, qn_store *store,
                         const qn_dataset *data, qn_error *error)
{
    size_t count = (size_t)data->train_count;
    size_t sample = (size_t)qn_shape_count(&data->shape);
    int images = qn_store_find(store, QN_GROUP_IMAGES, "images");
    int labels = qn_store_find(store, QN_GROUP_LABELS, "labels");
    feed->count = data->train_count;
    feed->order_index = qn_store_find(store, QN_GROUP_ORDER, "order");
    feed->order = malloc(count * sizeof *feed->order);
    if (!feed->order)
        return qn_fail_memory(error, count * sizeof *feed->order);
    for (size_t i = 0; i < count; i++)
        feed->order[i] = (int32_t)i;
    QN_TRY(qn_store_write(store, feed->order_index, feed->order,
                          count * sizeof *feed->order, error));
    QN_TRY(qn_store_write(store, images, data->train_x, count * sample,
                          error));
    return qn_store_write(store, labels, data->train_y,
                          count * sizeof *data->train_y, error);
}

qn_status qn_feed_shuffle(struct qn_feed *feed, qn_store *store,
                          uint64_t seed, int epoch, qn_error *error)
{
    qn_shuffle(feed->order, feed->count, seed, epoch);
    return qn_store_write(store, feed->order_index, feed->order,
                          (size_t)feed->count * sizeof *feed->order,
                          error);
}

void qn_feed_finish(struct qn_feed *feed)
{
    free(feed->order);
    *feed = (struct qn_feed){0};
}
