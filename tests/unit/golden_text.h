/* Reading tests/golden/text. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/text/tokenizer.h"

#define MAX_GOLDEN_BYTES ((size_t)16 << 20)

static inline void golden_path(char path[4096], const char *name)
{
    snprintf(path, 4096, "%s/tests/golden/text/%s", VLMP_SOURCE_ROOT, name);
}

static inline cJSON *golden_json(const char *name)
{
    char path[4096];
    vlmp_error err = {0};
    cJSON *tree;
    golden_path(path, name);
    if (vlmp_json_load(&tree, path, MAX_GOLDEN_BYTES, &err) != VLMP_OK) fail_msg("%s", err.message);
    return tree;
}

static inline vlmp_tokenizer *golden_tokenizer(const char *name, const char *config)
{
    char file[128], path[4096], *json;
    size_t length;
    vlmp_error err = {0};
    vlmp_tokenizer *t = NULL;
    snprintf(file, sizeof file, "%s.tokenizer.json", name);
    golden_path(path, file);
    if (vlmp_file_read(&json, &length, path, MAX_GOLDEN_BYTES, &err) != VLMP_OK ||
        vlmp_tokenizer_create(&t, json, length, config, config == NULL ? 0 : strlen(config), path,
                              &err) != VLMP_OK)
        fail_msg("%s", err.message);
    free(json);
    return t;
}

static inline const char *member_text(const cJSON *object, const char *key)
{
    const cJSON *item = vlmp_json_get(object, key);
    return item == NULL ? NULL : item->valuestring;
}

static inline int member_int(const cJSON *object, const char *key)
{
    return vlmp_json_get(object, key)->valueint;
}
