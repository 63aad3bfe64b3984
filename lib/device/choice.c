// Which device is meant: ranks devices and understands the words of a choice.
// Works on descriptions alone and makes no OpenCL call.
//
//   choice := part ("," part)*           the first part that fits wins
//   part   := "best" | type [":" n] | platform ":" device | text
//   type   := "gpu" | "cpu" | "accelerator" | "emulator"
//   text   := a piece of the device's, vendor's or platform's name
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/state.h"

enum { LONGEST_PART = 255 };

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
    return a < b; // both in one list: its order
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

// ---- one part ----

// What a part asks for.
struct wish {
    enum { ANY, TYPE, PLACE, TEXT } kind;
    unsigned types; // bits of qn_device_type
    int platform;
    int index;      // TYPE: among those that fit; PLACE: within the platform
    const char *text;
};

static bool is_equal(const char *a, const char *b, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (tolower((unsigned char)a[i]) != tolower((unsigned char)b[i]))
            return false;
    return true;
}

static bool contains(const char *text, const char *piece)
{
    size_t length = strlen(piece);
    for (; strlen(text) >= length; text++)
        if (is_equal(text, piece, length))
            return true;
    return false;
}

// A whole number from `text` to its end.
static bool read_index(const char *text, int *index)
{
    char *end;
    if (!isdigit((unsigned char)*text))
        return false;
    long value = strtol(text, &end, 10);
    *index = value < 10000 ? (int)value : 10000;
    return *end == 0;
}

// "gpu", "gpu:1".
static bool read_type(const char *part, struct wish *wish)
{
    static const struct {
        const char *word;
        unsigned types;
    } words[] = {
        {"gpu", 1u << QN_DEVICE_GPU | 1u << QN_DEVICE_INTEGRATED_GPU},
        {"cpu", 1u << QN_DEVICE_CPU},
        {"accelerator", 1u << QN_DEVICE_ACCELERATOR},
        {"emulator", 1u << QN_DEVICE_EMULATOR},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t length = strlen(words[i].word);
        int index = 0;
        if (strlen(part) < length || !is_equal(part, words[i].word, length))
            continue;
        if (part[length] != 0 && (part[length] != ':' ||
                                  !read_index(part + length + 1, &index)))
            continue;
        *wish = (struct wish){.kind = TYPE, .types = words[i].types,
                              .index = index};
        return true;
    }
    return false;
}

// "0:1".
static bool read_place(const char *part, struct wish *wish)
{
    char platform[LONGEST_PART + 1];
    const char *colon = strchr(part, ':');
    if (!colon)
        return false;
    snprintf(platform, sizeof platform, "%.*s", (int)(colon - part), part);
    wish->kind = PLACE;
    return read_index(platform, &wish->platform) &&
           read_index(colon + 1, &wish->index);
}

static struct wish read_part(const char *part)
{
    struct wish wish = {.kind = ANY};
    if (strlen(part) == 4 && is_equal(part, "best", 4))
        return wish;
    if (read_type(part, &wish) || read_place(part, &wish))
        return wish;
    return (struct wish){.kind = TEXT, .text = part};
}

static bool fits(const qn_device_info *info, const struct wish *wish)
{
    switch (wish->kind) {
    case ANY:
        return info->type != QN_DEVICE_EMULATOR;
    case TYPE:
        return (wish->types >> info->type & 1) != 0;
    case PLACE:
        return info->platform_index == wish->platform &&
               info->device_index == wish->index;
    case TEXT:
        return contains(info->name, wish->text) ||
               contains(info->vendor, wish->text) ||
               contains(info->platform, wish->text);
    }
    return false;
}

// The device of the wanted index among the usable ones that fit, by rank.
// `fitting` counts these, `broken` is one that fits but cannot be used, or -1.
static int find(const qn_device_list *list, const struct wish *wish,
                int *fitting, int *broken)
{
    int found = -1, skip = wish->kind == TYPE ? wish->index : 0;
    *fitting = 0;
    *broken = -1;
    for (int rank = 0; rank < list->device_count; rank++)
        for (int i = 0; i < list->device_count; i++) {
            const qn_device_info *info = &list->devices[i];
            if (info->rank != rank || !fits(info, wish))
                continue;
            if (*info->problem)
                *broken = i;
            else if ((*fitting)++ == skip)
                found = i;
        }
    return found;
}

// ---- the reason ----

static void say(qn_device_list *list, const char *text)
{
    size_t used = strlen(list->reason);
    snprintf(list->reason + used, sizeof list->reason - used, "%s", text);
}

static void say_device(qn_device_list *list, int index)
{
    const qn_device_info *info = &list->devices[index];
    char text[384];
    snprintf(text, sizeof text, "%d:%d %s (%s)", info->platform_index,
             info->device_index, info->name, qn_device_type_name(info->type));
    say(list, text);
}

static void say_taken(qn_device_list *list, const char *origin,
                      const char *part, const struct wish *wish, int fitting)
{
    char text[LONGEST_PART + 160];
    if (wish->kind == ANY && fitting == 1)
        snprintf(text, sizeof text, "the only device that can be used");
    else if (wish->kind == ANY)
        snprintf(text, sizeof text,
                 "the first of %d devices: discrete GPU before integrated "
                 "GPU, accelerator and CPU, then the one with more memory",
                 fitting);
    else if (fitting == 1)
        snprintf(text, sizeof text, "the one that fits \"%s\"", part);
    else
        snprintf(text, sizeof text, "the best of %d that fit \"%s\"", fitting,
                 part);
    say(list, text);
    if (origin) {
        snprintf(text, sizeof text, " (%s)", origin);
        say(list, text);
    }
}

static void say_none(qn_device_list *list, const char *origin,
                     const char *choice, int broken)
{
    char text[LONGEST_PART + 64];
    if (list->device_count == 0) {
        say(list, list->platform_count
                      ? "the OpenCL drivers of this system offer no device"
                      : "this system has no OpenCL driver");
        say(list, ". To install one:\n");
        say(list, qn_device_install_hint());
        return;
    }
    snprintf(text, sizeof text, "no device fits \"%.*s\"%s%s%s", LONGEST_PART,
             choice, origin ? " (" : "", origin ? origin : "",
             origin ? ")" : "");
    say(list, text);
    if (broken >= 0) {
        say(list, ": ");
        say_device(list, broken);
        say(list, " cannot be used, ");
        say(list, list->devices[broken].problem);
    }
    say(list, "; there is ");
    for (int i = 0; i < list->device_count; i++) {
        say(list, i ? ", " : "");
        say_device(list, i);
    }
    say(list, ". To install another driver:\n");
    say(list, qn_device_install_hint());
}

int qn_devices_choose(qn_device_list *list, const char *choice,
                      const char *origin)
{
    int any_broken = -1;
    *list->reason = 0;
    for (const char *at = choice; list->device_count && *at;) {
        char part[LONGEST_PART + 1];
        size_t length = strcspn(at, ",");
        const char *next = at[length] ? at + length + 1 : at + length;
        for (; length && isspace((unsigned char)*at); length--)
            at++;
        while (length && isspace((unsigned char)at[length - 1]))
            length--;
        snprintf(part, sizeof part, "%.*s",
                 length < LONGEST_PART ? (int)length : LONGEST_PART, at);
        at = next;
        if (!*part)
            continue;
        struct wish wish = read_part(part);
        int fitting, broken, found = find(list, &wish, &fitting, &broken);
        if (found >= 0) {
            say_taken(list, origin, part, &wish, fitting);
            return found;
        }
        if (any_broken < 0)
            any_broken = broken;
    }
    say_none(list, origin, choice, any_broken);
    return -1;
}

const char *qn_device_type_name(qn_device_type type)
{
    static const char *const names[] = {"GPU", "integrated GPU",
                                        "accelerator", "CPU", "emulator"};
    return (unsigned)type < sizeof names / sizeof *names ? names[type]
                                                         : "unknown";
}
