#include "tools/emit.h"

#include <stdio.h>
#include <string.h>

#include "src/base/utf8.h"
#include "tools/export_serve.h"

#define START_SECONDS 600          /* compiling and capturing graphs, generously */
#define LOAD_RATE     100000000ull /* bytes of weights a second, of a slow disk */

static bool is_one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

static bool is_label_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
}

/* A label of DNS that Kubernetes takes as the name of a service. */
static bool is_label(const char *text, size_t most)
{
    size_t length = strlen(text);
    bool good = length > 0 && length <= most && text[0] >= 'a' && text[0] <= 'z';
    for (size_t i = 0; i < length; i++)
        good = good && is_label_char(text[i]);
    return good && text[length - 1] != '-';
}

/* "scheme://rest", printable ASCII without what would end a word. */
static bool is_uri(const char *text)
{
    const char *rest = strstr(text, "://");
    bool good = rest != NULL && rest != text && rest[3] != '\0';
    for (const char *c = text; *c != '\0'; c++)
        good = good && *c > ' ' && *c < 0x7f && !is_one_of(*c, "\"\\<>^`{|}");
    return good;
}

static int check_kserve(const vlmp_emit *emit, vlmp_error *err)
{
    if (emit->storage_uri == NULL || !is_uri(emit->storage_uri))
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "--emit kserve: say where the cluster finds the folder: --storage-uri "
                         "pvc://CLAIM/PATH, s3://…, oci://… or hf://…");
    if (emit->prometheus == NULL || !is_uri(emit->prometheus))
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "--emit kserve: say whom the autoscaler asks for the queue's length: "
                         "--prometheus http://HOST:PORT");
    if (emit->previous != NULL && !is_label(emit->previous, VLMP_EMIT_NAME + 8))
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "--previous %s: is no InferenceService's name; kubectl get "
                         "inferenceservices lists them",
                         emit->previous);
    return VLMP_OK;
}

static int check_compose(const vlmp_emit *emit, vlmp_error *err)
{
    if (emit->storage_uri != NULL || emit->prometheus != NULL)
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "--storage-uri and --prometheus are for --emit kserve; compose serves "
                         "the folder where it lies");
    bool path = emit->previous == NULL || emit->previous[0] == '/' ||
                strncmp(emit->previous, "./", 2) == 0 || strncmp(emit->previous, "../", 3) == 0;
    if (!path)
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "--previous %s: give a folder as it is seen from the export, "
                         "../%s for one beside it, or with its whole path",
                         emit->previous, emit->previous);
    if (emit->previous != NULL &&
        vlmp_utf8_check(emit->previous, strlen(emit->previous)) != strlen(emit->previous))
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "--previous %s: is not UTF-8, which compose files are; rename the folder",
                         emit->previous);
    return VLMP_OK;
}

int vlmp_emit_check(const vlmp_emit *emit, vlmp_serve engine, vlmp_error *err)
{
    if (emit->kind == NULL) return VLMP_OK;
    if (engine != VLMP_SERVE_VLLM)
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "--emit %s: writes files for vllm, not for %s; give --for vllm, and a "
                         "format that it reads",
                         emit->kind, vlmp_serve_name(engine));
    return strcmp(emit->kind, "kserve") == 0 ? check_kserve(emit, err) : check_compose(emit, err);
}

/* The last part of the path in lower case, '-' for what a label cannot hold. */
static void name_of(char out[VLMP_EMIT_NAME], const char *path)
{
    size_t end = strlen(path), length = 0;
    while (end > 1 && path[end - 1] == '/')
        end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/')
        begin--;
    for (size_t i = begin; i < end && length < VLMP_EMIT_NAME - 1; i++) {
        char c = path[i];
        if (c >= 'A' && c <= 'Z') c = (char)(c + ('a' - 'A'));
        if (!is_label_char(c)) c = '-';
        bool letter = c >= 'a' && c <= 'z';
        if (length > 0 ? c != '-' || out[length - 1] != '-' : letter) out[length++] = c;
    }
    while (length > 0 && out[length - 1] == '-')
        length--;
    out[length] = '\0';
    if (length == 0) snprintf(out, VLMP_EMIT_NAME, "model");
}

void vlmp_emit_words(vlmp_json_writer *w, const vlmp_emit_facts *facts, const char *folder,
                     size_t left, bool own)
{
    vlmp_serve_words words = {0};
    char port[16];
    snprintf(port, sizeof port, "%d", VLMP_EMIT_PORT);
    const char *more[] = {"--served-model-name", facts->name, "--host", "0.0.0.0", "--port", port};
    vlmp_serve_command(&words, facts->export, folder);
    w->out.failed |= words.failed;
    vlmp_json_open(w, '[');
    for (size_t i = left; i < words.count && !words.failed; i++)
        if (own || strcmp(words.items[i], "--quantization") != 0)
            vlmp_json_put_string(w, words.items[i]);
        else
            i++;
    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
        vlmp_json_put_string(w, more[i]);
    vlmp_json_close(w, ']');
    vlmp_serve_words_free(&words);
}

static int write_text(const char *name, vlmp_buffer *text, const vlmp_outfolder *folder,
                      vlmp_error *err)
{
    char path[4096];
    vlmp_buffer_text(text, "\n");
    int status = text->failed ? vlmp_fail_memory(err, name) : VLMP_OK;
    if (status == VLMP_OK) status = vlmp_outfolder_path(path, folder, name, err);
    if (status == VLMP_OK) status = vlmp_file_write(path, text->data, text->length, false, err);
    vlmp_buffer_free(text);
    return status;
}

typedef void emit_json(vlmp_json_writer *w, const vlmp_emit_facts *facts);

static int write_json(const char *name, emit_json *put, const vlmp_emit_facts *facts,
                      const vlmp_outfolder *folder, vlmp_error *err)
{
    vlmp_json_writer w = {.indent = 2};
    put(&w, facts);
    return write_text(name, &w.out, folder, err);
}

int vlmp_emit_write(const vlmp_emit *emit, const vlmp_export_facts *facts,
                    const vlmp_outfolder *folder, vlmp_error *err)
{
    if (emit->kind == NULL) return VLMP_OK;
    const vlmp_export *export = facts->export;
    vlmp_emit_facts f = {.emit = emit,
                         .export = export,
                         .digest = export->source->digest,
                         .load_seconds =
                             START_SECONDS + (int64_t)(vlmp_export_bytes(export) / LOAD_RATE)};
    name_of(f.name, facts->output);
    snprintf(f.version, sizeof f.version, "%s-%.8s", f.name, f.digest);
    if (strcmp(emit->kind, "kserve") == 0) {
        VLMP_TRY(write_json("kserve.json", vlmp_emit_kserve, &f, folder, err));
        return write_json("kserve-route.json", vlmp_emit_kserve_route, &f, folder, err);
    }
    VLMP_TRY(write_json("compose.json", vlmp_emit_compose, &f, folder, err));
    vlmp_buffer nginx = {0};
    vlmp_emit_nginx(&nginx, &f);
    return write_text("nginx.conf", &nginx, folder, err);
}
