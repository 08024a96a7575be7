#include "tools/quantize_finished.h"

#include <string.h>

#include "formats/packed.h"
#include "src/base/json.h"
#include "tools/eval_provenance.h"
#include "tools/interrupt.h"

/* A note of the file as a document; an absent one is empty. */
static int read_note(cJSON **root, const vlmp_source *file, const char *key, vlmp_error *err)
{
    size_t length;
    const char *text = vlmp_packed_note(file, key, &length);
    return vlmp_json_parse(root, text != NULL ? text : "{}", text != NULL ? length : 2, key, err);
}

static int other_run(const vlmp_source *file, const char *what, vlmp_error *err)
{
    return vlmp_fail(
        err, VLMP_ERR_INPUT,
        "%s: is there already, from another run: '%.80s' differs; choose another name, "
        "or --force to replace it",
        file->path, what);
}

/* The note says what text says. A difference is called what; NULL: by the first key that
 * differs. */
static int compare_note(const vlmp_source *file, const char *key, const char *text,
                        const char *what, vlmp_error *err)
{
    cJSON *have = NULL, *want = NULL;
    int status = read_note(&have, file, key, err);
    if (status == VLMP_OK) status = vlmp_json_parse(&want, text, strlen(text), key, err);
    if (status == VLMP_OK && !cJSON_Compare(have, want, true)) {
        const cJSON *item = have->child, *other = want->child;
        while (item != NULL && vlmp_json_get(want, item->string) != NULL)
            item = item->next;
        for (; item == NULL && other != NULL; other = other->next)
            if (!cJSON_Compare(vlmp_json_get(have, other->string), other, true)) item = other;
        status = other_run(file, what != NULL ? what : item != NULL ? item->string : key, err);
    }
    cJSON_Delete(have);
    cJSON_Delete(want);
    return status;
}

static int compare_model(vlmp_source *file, const vlmp_identity *model, vlmp_error *err)
{
    vlmp_identity origin;
    VLMP_TRY(vlmp_eval_origin(&origin, NULL, file, err));
    const char *what = vlmp_identity_difference(&origin, model);
    return what == NULL ? VLMP_OK : other_run(file, what, err);
}

static int on_verify(void *arg, uint64_t done, uint64_t total)
{
    (void)arg;
    (void)done;
    (void)total;
    return vlmp_interrupted() != 0 ? VLMP_ERR_INTERRUPTED : VLMP_OK;
}

int vlmp_quantize_check_finished(const char *path, const vlmp_identity *model, const char *recipe,
                                 const char *provenance, vlmp_quantize_summary *summary,
                                 char digest[VLMP_SHA256_HEX], vlmp_error *err)
{
    vlmp_source *file;
    vlmp_error fault = {0};
    int opened = vlmp_packed_open(&file, path, &fault);
    if (opened != VLMP_OK)
        return vlmp_fail(err, opened == VLMP_ERR_INPUT ? VLMP_ERR_USAGE : opened,
                         "%.700s; it is there already, --force replaces it", fault.message);
    cJSON *decisions = NULL;
    int status = compare_note(file, "vlmp.provenance", provenance, NULL, err);
    if (status == VLMP_OK) status = compare_note(file, "vlmp.recipe", recipe, "recipe", err);
    if (status == VLMP_OK) status = vlmp_packed_verify(file, on_verify, NULL, err);
    if (status == VLMP_OK) status = compare_model(file, model, err);
    if (status == VLMP_OK) status = read_note(&decisions, file, "vlmp.decisions", err);
    if (status == VLMP_OK) status = vlmp_quantize_count(summary, decisions, err);
    if (status == VLMP_OK) status = file->digest_now(file, digest, err);
    cJSON_Delete(decisions);
    file->close(file);
    return status;
}
