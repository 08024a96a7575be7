/* How a command reads pictures, and what is worth saying about those that it has read. */
#pragma once

#include "formats/image_file.h"
#include "src/base/json.h"
#include "src/store/source.h"

typedef struct {
    char *path;
    char *warning; /* NULL: none */
    bool damaged, transparent;
} vlmp_picture_remark;

/* Options first; remarks come with reading, one for a picture however often it is read. */
typedef struct {
    const char *alpha;            /* --alpha: "white" or "drop" */
    bool strict;                  /* --strict-pictures */
    vlmp_picture_remark *remarks; /* [count], sorted by path */
    size_t count, capacity;
    size_t damaged, transparent; /* of them */
} vlmp_picture_reading;

#define VLMP_PICTURE_READING_DEFAULT \
    {                                \
        .alpha = "white"             \
    }

/* Entries of a command's option table. */
#define VLMP_PICTURE_OPTIONS(reading)                                                              \
    {.name = "alpha",                                                                              \
     .value = "WAY",                                                                               \
     .help = "what shows where a picture is transparent: white (default), or drop: the colour "    \
             "stored there",                                                                       \
     .string = &(reading)->alpha,                                                                  \
     .choices = "white|drop"},                                                                     \
    {                                                                                              \
        .name = "strict-pictures", .help = "refuse damaged pictures, also those that can be read", \
        .flag = &(reading)->strict                                                                 \
    }

/* Reads a picture and remembers what was odd. */
int vlmp_picture_read(vlmp_image *out, const char *path, vlmp_picture_reading *reading,
                      vlmp_error *err);
void vlmp_picture_reading_free(vlmp_picture_reading *reading);

/* Is this picture among the remarks, and transparent? */
bool vlmp_picture_is_transparent(const vlmp_picture_reading *reading, const char *path);

/* {"alpha": "white", "transparent": n, "damaged": n, "remarks": [{"picture", "remark"}, …]}; alpha
 * is null where nothing is transparent: it changed nothing. */
void vlmp_picture_remarks_write(vlmp_json_writer *w, const vlmp_picture_reading *reading);

/* One sentence for people, or "" when there is nothing to say. */
void vlmp_picture_summary(const vlmp_picture_reading *reading, char *out, size_t size);
