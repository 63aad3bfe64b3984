#include "device/device.h"

qn_device *qn_device_open(const struct qn_device_params *params,
                          qn_error *error)
{
    (void)params;
    qn_fail(error, QN_NO_DEVICE, "no device");
    return NULL;
}

void qn_device_close(qn_device **device)
{
    *device = NULL;
}
