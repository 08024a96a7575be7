/* One question about pictures, as data sets give it: a conversation whose last answer is asked
 * for. */
#pragma once

#include <stddef.h>

#include "src/base/memory.h"
#include "src/store/message.h"

typedef struct {
    char *where;        /* for messages: "data.jsonl:12", "data.json: entry 3", a picture's path */
    int line;           /* in the data file, or the entry's number, from 1; 0 for folders */
    int image_count;    /* may be 0 */
    char **images;      /* resolved paths, in the order of their places in the turns */
    char **image_names; /* as the data file spells them, for messages */
    int turn_count;     /* of the conversation before the last answer: the last is a user's */
    vlmp_chat_message *turns; /* every assistant's turn among them is an answer, and scored */
    int answer_count;         /* to the last turn; 0: none known */
    char **answers;           /* the first is scored; all are references for BLEU and CIDEr */
    vlmp_arena arena;         /* owns everything above */
} vlmp_sample;

/* Harmless on {0} and after a failure. */
static inline void vlmp_sample_free(vlmp_sample *sample)
{
    vlmp_arena_free(&sample->arena);
    *sample = (vlmp_sample){0};
}
