// quern devices: the listing, ranked, and the choice.
#include <stdio.h>
#include <string.h>

#include "command.h"

static void id_of(const qn_device_info *info, char text[SHORT_TEXT])
{
    snprintf(text, SHORT_TEXT, "%d:%d", info->platform_index,
             info->device_index);
}

// ---- as JSON ----

static json_t *describe(const qn_device_info *info)
{
    char id[SHORT_TEXT];
    id_of(info, id);
    return json_pack(
        "{ss si si si ss ss ss ss ss sI sI sI si si si sb sb ss?}",
        "id", id, "platform", info->platform_index, "device",
        info->device_index, "rank", info->rank, "name", info->name, "type",
        qn_device_type_name(info->type), "vendor", info->vendor, "version",
        info->version, "driver", info->driver, "memory_bytes",
        (json_int_t)info->memory_size, "max_alloc_bytes",
        (json_int_t)info->max_alloc_size, "local_bytes",
        (json_int_t)info->local_size, "compute_units",
        (int)info->compute_units, "clock_mhz", (int)info->clock,
        "max_group_size", (int)info->max_group_size, "float64",
        info->has_float64, "unified_memory", info->unified_memory, "problem",
        *info->problem ? info->problem : NULL);
}

static json_t *platforms_of(const qn_device_list *list)
{
    json_t *platforms = json_array();
    for (int p = 0; p < list->platform_count; p++) {
        const qn_device_info *one = NULL;
        int count = 0;
        for (int i = 0; i < list->device_count; i++)
            if (list->devices[i].platform_index == p) {
                one = &list->devices[i];
                count++;
            }
        json_array_append_new(
            platforms, json_pack("{si ss? ss? si}", "index", p, "name",
                                 one ? one->platform : NULL, "version",
                                 one ? one->platform_version : NULL,
                                 "devices", count));
    }
    return platforms;
}

static int print_as_json(const qn_device_list *list)
{
    char id[SHORT_TEXT];
    json_t *devices = json_array();
    for (int i = 0; i < list->device_count; i++)
        json_array_append_new(devices, describe(&list->devices[i]));
    if (list->chosen >= 0)
        id_of(&list->devices[list->chosen], id);
    return print_json(json_pack("{so so ss? ss}", "platforms",
                                platforms_of(list), "devices", devices,
                                "chosen", list->chosen < 0 ? NULL : id,
                                "reason", list->reason));
}

// ---- as a tree ----

static void print_device(const qn_device_info *info, bool is_chosen)
{
    char id[SHORT_TEXT], memory[SHORT_TEXT], alloc[SHORT_TEXT];
    char local[SHORT_TEXT];
    id_of(info, id);
    printf("%c %-5s %s\n", is_chosen ? '*' : ' ', id, info->name);
    if (*info->problem) {
        printf("        cannot be used: %s\n", info->problem);
        return;
    }
    printf("        %s, %u compute units at %u MHz, rank %d\n",
           qn_device_type_name(info->type), info->compute_units, info->clock,
           info->rank + 1);
    printf("        memory %s%s, largest buffer %s, local %s\n",
           text_size(memory, (double)info->memory_size),
           info->unified_memory ? " shared with the host" : "",
           text_size(alloc, (double)info->max_alloc_size),
           text_size(local, (double)info->local_size));
    printf("        work-groups up to %u, %s, driver %s\n",
           info->max_group_size,
           info->has_float64 ? "float64" : "no float64", info->driver);
}

static void print_tree(const qn_device_list *list)
{
    int platform = -1;
    for (int i = 0; i < list->device_count; i++) {
        const qn_device_info *info = &list->devices[i];
        if (info->platform_index != platform)
            printf("%s%s (%s)\n", platform < 0 ? "" : "\n", info->platform,
                   info->platform_version);
        platform = info->platform_index;
        print_device(info, i == list->chosen);
    }
    if (list->chosen >= 0)
        printf("\n%s: %s\n", list->devices[list->chosen].name, list->reason);
}

int run_devices(const struct command *command, int argc, const char **argv)
{
    const char *choice = NULL;
    bool json = false;
    struct flag flags[] = {FLAG_DEVICE(choice), FLAG_JSON(json)};
    struct words words;
    int status = EXIT_DONE;
    if (!parse_flags(command, argc, argv, flags, FLAG_COUNT_OF(flags), &words,
                     &status))
        return status;
    qn_error error = {0};
    qn_logger log = message_logger();
    qn_device_list *list = NULL;
    if (words.count)
        status = usage_error(command, "%s: takes no arguments",
                             words.text[0]);
    else if (!(list = qn_device_list_create(choice, &log, &error)))
        status = fail_with(command, &error);
    if (list && json)
        status = print_as_json(list);
    else if (list)
        print_tree(list);
    if (list && list->chosen < 0 && status == EXIT_DONE) {
        fail("%s", list->reason);
        say(false, "%s", qn_device_install_hint());
        status = EXIT_NO_DEVICE;
    }
    qn_device_list_destroy(&list);
    free_words(&words);
    return status;
}
