#include "src/model/config_fields.h"

#define MIN_EPSILON 1e-12
#define MAX_EPSILON 0.1

static int not_null(const cJSON *object, const char *key, const char *where, vlmp_error *err)
{
    if (!cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(object, key))) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: '%s' is null; give its value, or leave it out",
                     where, key);
}

int vlmp_config_int(const cJSON *object, const char *key, int fallback, int low, int high, int *out,
                    const char *where, vlmp_error *err)
{
    int64_t value;
    VLMP_TRY(not_null(object, key, where, err));
    VLMP_TRY(vlmp_json_int(object, key, fallback, low, high, &value, where, err));
    *out = (int)value;
    return VLMP_OK;
}

int vlmp_config_sizes(const cJSON *object, const vlmp_config_size *sizes, size_t count,
                      const char *where, vlmp_error *err)
{
    for (size_t i = 0; i < count; i++)
        VLMP_TRY(vlmp_config_int(object, sizes[i].key, sizes[i].fallback, 1, sizes[i].high,
                                 sizes[i].out, where, err));
    return VLMP_OK;
}

int vlmp_config_channels(const cJSON *object, const char *key, const char *where, vlmp_error *err)
{
    int channels;
    VLMP_TRY(vlmp_config_int(object, key, 3, 1, 1024, &channels, where, err));
    if (channels == 3) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: '%s' is %d; towers for pictures of 3 channels are supported", where, key,
                     channels);
}

int vlmp_config_double(const cJSON *object, const char *key, double fallback, double *out,
                       const char *where, vlmp_error *err)
{
    VLMP_TRY(not_null(object, key, where, err));
    return vlmp_json_double(object, key, fallback, out, where, err);
}

int vlmp_config_bool(const cJSON *object, const char *key, bool fallback, bool *out,
                     const char *where, vlmp_error *err)
{
    VLMP_TRY(not_null(object, key, where, err));
    return vlmp_json_bool(object, key, fallback, out, where, err);
}

int vlmp_config_string(const cJSON *object, const char *key, const char *fallback, const char **out,
                       const char *where, vlmp_error *err)
{
    VLMP_TRY(not_null(object, key, where, err));
    return vlmp_json_string(object, key, fallback, out, where, err);
}

int vlmp_config_epsilon(const cJSON *object, const char *key, double fallback, float *out,
                        const char *where, vlmp_error *err)
{
    double value;
    VLMP_TRY(vlmp_config_double(object, key, fallback, &value, where, err));
    *out = (float)value;
    if (value >= MIN_EPSILON && value <= MAX_EPSILON) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: '%s' is %g; the epsilon of a norm lies between %g and %g", where, key,
                     value, MIN_EPSILON, MAX_EPSILON);
}

int vlmp_config_section(const cJSON *root, const char *key, const cJSON **out, const char *where,
                        vlmp_error *err)
{
    *out = vlmp_json_get(root, key);
    if (*out == NULL || cJSON_IsObject(*out)) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: '%s' is not an object", where, key);
}

int vlmp_config_refuse(const cJSON *object, const char *key, const char *where, vlmp_error *err)
{
    if (vlmp_json_get(object, key) == NULL) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: '%s' changes what the model computes and is not supported", where, key);
}
