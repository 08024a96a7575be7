/* The options of commands that read GGUF files. */
#pragma once

#include "formats/open.h"

#define VLMP_OPENER_DEFAULT \
    {                       \
        .gguf = true        \
    }

#define VLMP_OPENER_OPTIONS(opener)                                                            \
    {.name = "base",                                                                           \
     .value = "MODEL",                                                                         \
     .help = "of GGUF files: the model they were made from, for configuration, tokenizer and " \
             "processor (default: their folder)",                                              \
     .string = &(opener)->base},                                                               \
    {                                                                                          \
        .name = "mmproj", .value = "FILE",                                                     \
        .help = "of GGUF files: the tower and projector (default: the file beside the text "   \
                "model with mmproj in its name)",                                              \
        .string = &(opener)->mmproj                                                            \
    }
