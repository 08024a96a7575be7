/* The tokens that end an answer. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "src/store/source.h"

typedef struct {
    int count;    /* 0: nothing says which */
    int32_t *ids; /* [count] */
} vlmp_stop_tokens;

/* What a model folder says, as the reference implementation derives its generation configuration:
 * "eos_token_id" of generation_config.json alone where there is that file, else of config.json,
 * else of its text_config. A number or a list; another type, an empty list or an id outside the
 * vocabulary is VLMP_ERR_INPUT, in whichever file it stands. */
int vlmp_stop_tokens_read(vlmp_stop_tokens *out, const vlmp_source *source, int vocab,
                          vlmp_error *err);

bool vlmp_stop_tokens_has(const vlmp_stop_tokens *stop, int32_t id);
void vlmp_stop_tokens_free(vlmp_stop_tokens *stop);
