// The command: its subcommands and the way to their help.
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "command.h"

#define MODEL_TEXT                                                        \
    "MODEL is a built-in name (quern list models), a JSON file, or a short\n" \
    "form such as 512-relu-256-relu-10: units of dense layers and names of\n" \
    "other layers (quern list layers).\n"
#define DATA_TEXT                                                         \
    "D is a built-in name (quern list datasets) or a folder with the four\n" \
    "files of an MNIST-style set, plain or .gz."

static const struct command commands[] = {
    {"train", "MODEL", "Trains a model and saves it in a run folder.",
     MODEL_TEXT DATA_TEXT
     "\n\n"
     "Ctrl-C saves and stops; quern train --resume RUN goes on with the same\n"
     "settings, bit by bit on the same device; --epochs may then be more.\n\n"
     "  quern train 512-relu-256-relu-10 --data digits --optimizer adam\n"
     "  quern train mlp --data mnist --epochs 5 --lr 0.05 --optimizer momentum",
     run_train},
    {"eval", "RUN|CHECKPOINT",
     "Measures loss and accuracy on the test part of a data set.",
     "RUN is a run folder, of which the last checkpoint is taken. Without\n"
     "--data it is the set that the model was trained on.",
     run_eval},
    {"predict", "RUN|CHECKPOINT INPUT...", "Classifies samples.",
     "INPUT is one of\n"
     "  digits:7, digits:0-9  samples of the test part of a data set\n"
     "  FILE                  an IDX file of images, plain or .gz, or a CSV\n"
     "                        file: a line a sample, values 0 to 255, perhaps\n"
     "                        followed by its label",
     run_predict},
    {"summary", "MODEL",
     "Shows layers, parameters, launches and memory of a model.",
     MODEL_TEXT DATA_TEXT, run_summary},
    {"bench", "[PART]...",
     "Times the work of training beside the device's own limits.",
     "PART is one of\n"
     "  train  whole training steps of known models on synthetic data: samples\n"
     "         a second, launches, memory, time to the first step\n"
     "  gemm   matrix products: GFLOP/s beside multiply-adds in registers\n"
     "  conv   convolutions and their two gradients, likewise\n"
     "  ops    normalisation, activations, losses, pooling, sums, transposes:\n"
     "         GB/s of what must be read and written, beside a copy\n"
     "  optim  an update of all parameters by each optimizer, beside a copy of\n"
     "         as much memory; GB/s counts the gradient read, parameters and\n"
     "         slots read and written\n"
     "Without it all are timed. What is compared is timed in turns; figures are\n"
     "medians of many rounds, ratios medians of the rounds' ratios.",
     run_bench},
    {"devices", "", "Lists what OpenCL offers and tells which device is used.",
     NULL, run_devices},
    {"list", "[TABLE] [SCHEDULE]...", "Lists what a model, a run or a flag may name.",
     "TABLE is one of ops, layers, losses, optimizers, schedules, inits,\n"
     "datasets, models; without it all are shown.\n\n"
     "  quern list schedules --plot\n"
     "  quern list schedules --plot warmup:length=10+cosine step:gamma=0.5",
     run_list},
};

enum { COMMAND_COUNT = sizeof commands / sizeof *commands };

static void print_help(FILE *file)
{
    fprintf(file, "Quern trains neural networks through OpenCL.\n\n"
                  "usage: quern COMMAND [ARGUMENT]... [OPTION]...\n\n");
    for (int i = 0; i < COMMAND_COUNT; i++)
        fprintf(file, "  %-10s%s\n", commands[i].name, commands[i].summary);
    fprintf(file,
            "\n"
            "  quern COMMAND --help tells more, quern --version the version.\n"
            "\n"
            "exit status: 0 done, 1 failed, 2 wrong usage, 3 no device\n");
}

static const struct command *find_command(const char *name)
{
    for (int i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int unknown_command(const char *name)
{
    const char *names[COMMAND_COUNT + 2] = {"--help", "--version"};
    for (int i = 0; i < COMMAND_COUNT; i++)
        names[i + 2] = commands[i].name;
    const char *nearest = qn_text_nearest(name, names, COMMAND_COUNT + 2);
    return usage_error(NULL, "unknown %s %s%s%s%s",
                       *name == '-' ? "option" : "command", name,
                       nearest ? "; did you mean " : "",
                       nearest ? nearest : "", nearest ? "?" : "");
}

static bool is_one_of(const char *word, const char *a, const char *b)
{
    return strcmp(word, a) == 0 || strcmp(word, b) == 0;
}

int main(int argc, char **argv)
{
    setlocale(LC_CTYPE, ""); // the terminal's characters; numbers stay C's
    pin_workers();
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    const char *word = argv[1];
    if (is_one_of(word, "--version", "-V")) {
        printf("quern %d.%d.%d\n", QN_VERSION_MAJOR, QN_VERSION_MINOR,
               QN_VERSION_PATCH);
        return EXIT_DONE;
    }
    if (is_one_of(word, "--help", "-h") ||
        (strcmp(word, "help") == 0 && argc == 2)) {
        print_help(stdout);
        return EXIT_DONE;
    }
    // "quern help train" is "quern train --help".
    bool asks_help = strcmp(word, "help") == 0;
    const char *help_argv[] = {"quern", "--help", NULL};
    const struct command *command = find_command(asks_help ? argv[2] : word);
    if (!command)
        return unknown_command(asks_help ? argv[2] : word);
    if (asks_help)
        return command->run(command, 2, help_argv);
    return command->run(command, argc - 1, (const char **)argv + 1);
}
