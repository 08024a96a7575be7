#include "formats/open.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "formats/gguf_pair.h"
#include "formats/hf_folder.h"
#include "formats/hub.h"
#include "formats/packed.h"
#include "src/base/file.h"

/* The folder that a folder's path or a hub name means; model itself, or the copy in found. */
static int find_folder(const char **folder, char found[PATH_MAX], const char *model,
                       vlmp_path_kind kind, vlmp_error *err)
{
    *folder = model;
    if (kind == VLMP_PATH_FOLDER) return VLMP_OK;
    if (!vlmp_is_hub_id(model))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: no such model folder%s; check the path", model,
                         kind == VLMP_PATH_ABSENT ? " or packed file" : "");
    *folder = found;
    return vlmp_hub_find(found, PATH_MAX, model, err);
}

/* *folder stays NULL without a name. */
static int find_base(const char **folder, char found[PATH_MAX], const char *name, vlmp_error *err)
{
    vlmp_path_kind kind;
    if (name == NULL) return VLMP_OK;
    VLMP_TRY(vlmp_path_look(&kind, name, err));
    return find_folder(folder, found, name, kind, err);
}

static int open_gguf(vlmp_source **out, const vlmp_opener *opener, const char *path,
                     vlmp_error *err)
{
    char found[2][PATH_MAX];
    vlmp_gguf_bases bases = {0};
    if (opener == NULL || !opener->gguf)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: is a GGUF model, which vlm-eval, vlm-run, vlm-inspect and vlm-export "
                         "read; give the model that it was made from",
                         path);
    VLMP_TRY(find_base(&bases.base, found[0], opener->base, err));
    VLMP_TRY(find_base(&bases.spare, found[1], opener->spare, err));
    return vlmp_gguf_pair_open(out, path, opener->mmproj, &bases, err);
}

static int open_model(vlmp_source **out, const vlmp_opener *opener, const char *model,
                      vlmp_error *err)
{
    *out = NULL;
    char found[PATH_MAX];
    const char *folder;
    vlmp_path_kind kind;
    bool gguf;
    VLMP_TRY(vlmp_path_look(&kind, model, err));
    if (kind == VLMP_PATH_FILE) {
        VLMP_TRY(vlmp_gguf_is(&gguf, model, err));
        return gguf ? open_gguf(out, opener, model, err) : vlmp_packed_open(out, model, err);
    }
    VLMP_TRY(find_folder(&folder, found, model, kind, err));
    VLMP_TRY(vlmp_gguf_folder_is(&gguf, folder, err));
    return gguf ? open_gguf(out, opener, folder, err) : vlmp_folder_open(out, folder, err);
}

int vlmp_model_source_open_headers(vlmp_source **out, const char *model, vlmp_error *err)
{
    *out = NULL;
    char found[PATH_MAX];
    const char *folder = model;
    vlmp_path_kind kind;
    bool gguf;
    VLMP_TRY(vlmp_path_look(&kind, model, err));
    size_t length = strlen(model);
    bool json = length > 5 && strcmp(model + length - 5, ".json") == 0;
    if (kind == VLMP_PATH_FILE && !json) return open_model(out, NULL, model, err);
    if (kind != VLMP_PATH_FILE) {
        VLMP_TRY(find_folder(&folder, found, model, kind, err));
        VLMP_TRY(vlmp_gguf_folder_is(&gguf, folder, err));
        if (gguf) return open_gguf(out, NULL, folder, err);
    }
    return vlmp_folder_open_headers(out, folder, err);
}

int vlmp_model_source_open(vlmp_source **out, const char *model, vlmp_error *err)
{
    return open_model(out, NULL, model, err);
}

static int keep(vlmp_opener *opener, const char *model, vlmp_source *source, vlmp_error *err)
{
    struct vlmp_kept *grown = realloc(opener->kept, (opener->kept_count + 1) * sizeof *grown);
    if (grown == NULL) return vlmp_fail_memory(err, model);
    opener->kept = grown;
    opener->kept[opener->kept_count++] = (struct vlmp_kept){model, source};
    return VLMP_OK;
}

/* What is no model is none; opening it says so. */
static int is_gguf(bool *out, const char *model, vlmp_error *err)
{
    char found[PATH_MAX];
    vlmp_path_kind kind;
    *out = false;
    VLMP_TRY(vlmp_path_look(&kind, model, err));
    if (kind == VLMP_PATH_FILE) return vlmp_gguf_is(out, model, err);
    if (kind == VLMP_PATH_FOLDER) return vlmp_gguf_folder_is(out, model, err);
    VLMP_TRY(vlmp_hub_look(found, sizeof found, model, err));
    return found[0] != '\0' ? vlmp_gguf_folder_is(out, found, err) : VLMP_OK;
}

int vlmp_opener_check(const vlmp_opener *opener, const char **models, size_t count, vlmp_error *err)
{
    bool gguf = opener->base == NULL && opener->mmproj == NULL;
    for (size_t i = 0; i < count && !gguf; i++)
        VLMP_TRY(is_gguf(&gguf, models[i], err));
    if (gguf) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_USAGE,
                     "--%s is for GGUF files, and %s is none; leave the option away",
                     opener->base != NULL ? "base" : "mmproj", models[0]);
}

int vlmp_opener_open(vlmp_opener *opener, vlmp_source **out, const char *model, vlmp_error *err)
{
    for (size_t i = 0; i < opener->kept_count; i++) {
        if (strcmp(opener->kept[i].model, model) != 0) continue;
        *out = opener->kept[i].source;
        return VLMP_OK;
    }
    VLMP_TRY(open_model(out, opener, model, err));
    if ((*out)->imported == NULL) return VLMP_OK;
    int status = keep(opener, model, *out, err);
    if (status == VLMP_OK) return VLMP_OK;
    (*out)->close(*out);
    *out = NULL;
    return status;
}

void vlmp_opener_close(const vlmp_opener *opener, vlmp_source *source)
{
    for (size_t i = 0; i < opener->kept_count; i++) {
        if (opener->kept[i].source != source) continue;
        for (size_t t = 0; t < source->count(source); t++)
            source->release(source, source->at(source, t));
        return;
    }
    source->close(source);
}

void vlmp_opener_free(vlmp_opener *opener)
{
    for (size_t i = 0; i < opener->kept_count; i++)
        opener->kept[i].source->close(opener->kept[i].source);
    free(opener->kept);
    *opener = (vlmp_opener){0};
}
