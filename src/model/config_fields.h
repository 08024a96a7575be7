/* Members of config.json as the reference implementation reads them: absent means the class's
 * default, but a null where the class wants a value is refused, as is another type. object may be
 * NULL (the section is missing). where names the file in messages; all errors are VLMP_ERR_INPUT.
 */
#pragma once

#include <cjson/cJSON.h>
#include <stdbool.h>

#include "src/base/error.h"
#include "src/base/json.h"

/* A whole number in [low, high]. */
int vlmp_config_int(const cJSON *object, const char *key, int fallback, int low, int high, int *out,
                    const char *where, vlmp_error *err);

/* Several of them, from 1 on. */
typedef struct {
    const char *key;
    int fallback, high;
    int *out;
} vlmp_config_size;

int vlmp_config_sizes(const cJSON *object, const vlmp_config_size *sizes, size_t count,
                      const char *where, vlmp_error *err);

/* Pictures have three channels: refuses another number. */
int vlmp_config_channels(const cJSON *object, const char *key, const char *where, vlmp_error *err);

int vlmp_config_double(const cJSON *object, const char *key, double fallback, double *out,
                       const char *where, vlmp_error *err);
int vlmp_config_bool(const cJSON *object, const char *key, bool fallback, bool *out,
                     const char *where, vlmp_error *err);
/* *out points into the tree (or is fallback). */
int vlmp_config_string(const cJSON *object, const char *key, const char *fallback, const char **out,
                       const char *where, vlmp_error *err);

/* A norm's epsilon: positive and small. */
int vlmp_config_epsilon(const cJSON *object, const char *key, double fallback, float *out,
                        const char *where, vlmp_error *err);

/* A section: *out is the object, or NULL where it is absent or null. */
int vlmp_config_section(const cJSON *root, const char *key, const cJSON **out, const char *where,
                        vlmp_error *err);

/* Refuses a member that changes what the model computes, unless it is absent or null. */
int vlmp_config_refuse(const cJSON *object, const char *key, const char *where, vlmp_error *err);
