/* Parts of the data set readers (private to them). */
#pragma once

#include <cjson/cJSON.h>
#include <limits.h>
#include <stdbool.h>

#include "formats/dataset.h"

#define VLMP_MAX_RECORD   (16u << 20) /* bytes of JSON: one sample */
#define VLMP_RECORD_WHERE (PATH_MAX + 64)
#define VLMP_MAX_CAPTIONS (1u << 16) /* of one picture */
#define VLMP_MAX_SAMPLES  10000000

typedef enum {
    VLMP_RECORD_PLAIN,
    VLMP_RECORD_ORPHAN, /* COCO: a caption that belongs to no picture */
    VLMP_RECORD_TWICE,  /* COCO: a picture whose id an earlier one has */
} vlmp_record_kind;

/* Where a record lies in the file. */
typedef struct {
    uint64_t offset;
    uint32_t length;      /* bytes; more than VLMP_MAX_RECORD is refused when it is read */
    uint32_t number : 30; /* its line, or its place in its list, from 1 */
    uint32_t kind : 2;    /* a vlmp_record_kind */
} vlmp_record;

typedef struct {
    vlmp_record *items; /* malloc'd */
    size_t count, capacity;
} vlmp_records;

int vlmp_records_add(vlmp_records *records, vlmp_record record, const char *path, vlmp_error *err);

typedef enum { VLMP_DATA_JSONL, VLMP_DATA_LLAVA, VLMP_DATA_COCO, VLMP_DATA_FOLDER } vlmp_data_kind;

struct vlmp_dataset {
    const char *path;
    int fd;          /* −1: a folder */
    uint64_t length; /* bytes */
    vlmp_data_kind kind;
    vlmp_records records;
    char image_root[PATH_MAX]; /* as given or derived, for joining */
    char real_root[PATH_MAX];  /* resolved, for the check of links */
    bool image_root_is_given;  /* by the caller */
    char **names;              /* [records.count] of a folder's pictures */
    vlmp_records captions;     /* COCO: by picture, in the file's order */
    uint32_t *caption_first;   /* [pictures + 1] index of each picture's first caption */
};

/* The lines of a JSONL file. */
int vlmp_index_lines(vlmp_dataset *dataset, vlmp_error *err);

/* The elements of a document: of the list that it is, or of the lists "images" and "annotations" of
 * the object that it is. *kind: LLaVA, COCO, or JSONL when it is an object on one line without
 * these lists. COCO's captions are left unsorted. */
int vlmp_index_document(vlmp_dataset *dataset, vlmp_error *err);

/* Reads ids: captions by picture, orphans and repeated ids marked. */
int vlmp_index_coco(vlmp_dataset *dataset, vlmp_error *err);

/* The record's JSON, parsed; where is for messages. cJSON_Delete it. */
int vlmp_record_parse(const vlmp_dataset *dataset, const vlmp_record *record, const char *where,
                      cJSON **out, vlmp_error *err);

/* A copy of text in the sample's arena; what ("'prompt'") goes to messages: text that is empty or
 * only white space is refused. */
int vlmp_sample_text(vlmp_sample *sample, char **out, const char *text, const char *what,
                     vlmp_error *err);

/* Refuses a record with a video, which would be asked about without it. */
int vlmp_sample_no_video(const vlmp_sample *sample, const cJSON *record, vlmp_error *err);

/* value: a name, a list of names, or NULL. */
int vlmp_sample_images(const vlmp_dataset *dataset, vlmp_sample *sample, const cJSON *value,
                       vlmp_error *err);

/* One user's turn: all pictures, then the text (from the sample's arena). */
int vlmp_sample_question(vlmp_sample *sample, const char *text, vlmp_error *err);

/* One LLaVA record. */
int vlmp_sample_conversation(const vlmp_dataset *dataset, vlmp_sample *sample, const cJSON *record,
                             vlmp_error *err);

/* Picture index of a COCO document with its captions. */
int vlmp_sample_coco(const vlmp_dataset *dataset, size_t index, vlmp_sample *sample,
                     const cJSON *image, vlmp_error *err);
