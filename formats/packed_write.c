#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/packed_layout.h"
#include "formats/safetensors_write.h"
#include "formats/st_header.h"
#include "formats/tensor_table.h"
#include "src/base/json.h"
#include "src/base/outfile.h"
#include "src/model/names.h"

#define PIECE       ((size_t)1 << 20) /* bytes moved at a time */
#define FIXED_PAIRS 8

/* A file in the making. */
typedef struct {
    const vlmp_packed_plan *plan;
    const vlmp_packed_entry *entries;
    size_t entry_count;
    vlmp_tensor *tensors;            /* the plan's, in file order */
    vlmp_packed_linear *linears;     /* the plan's, in order of computation */
    char (*hashes)[VLMP_SHA256_HEX]; /* of tensors */
    char digest[VLMP_SHA256_HEX];
    vlmp_buffer header; /* length field, JSON, padding */
} draft;

static void draft_free(draft *d)
{
    free(d->tensors);
    free(d->linears);
    free(d->hashes);
    vlmp_buffer_free(&d->header);
}

static int by_order(const void *a, const void *b)
{
    return vlmp_packed_order(a, b);
}

static int by_computation(const void *a, const void *b)
{
    return vlmp_name_compare(((const vlmp_packed_linear *)a)->name,
                             ((const vlmp_packed_linear *)b)->name);
}

static int draft_init(draft *d, const vlmp_packed_plan *plan, const vlmp_packed_entry *entries,
                      size_t entry_count, vlmp_error *err)
{
    *d = (draft){.plan = plan, .entries = entries, .entry_count = entry_count};
    size_t count = plan->tensor_count;
    d->tensors = vlmp_alloc(count, sizeof *d->tensors);
    d->linears = vlmp_alloc(plan->linear_count, sizeof *d->linears);
    d->hashes = vlmp_alloc(count, sizeof *d->hashes);
    if (d->tensors == NULL || d->linears == NULL || d->hashes == NULL)
        return vlmp_fail_memory(err, "header of a packed file");
    if (count > 0) {
        memcpy(d->tensors, plan->tensors, count * sizeof *d->tensors);
        qsort(d->tensors, count, sizeof *d->tensors, by_order);
    }
    if (plan->linear_count > 0) {
        memcpy(d->linears, plan->linears, plan->linear_count * sizeof *d->linears);
        qsort(d->linears, plan->linear_count, sizeof *d->linears, by_computation);
    }
    for (size_t i = 0; i < count; i++)
        memcpy(d->hashes[i], VLMP_ST_NO_HASH, VLMP_SHA256_HEX);
    memcpy(d->digest, VLMP_ST_NO_HASH, VLMP_SHA256_HEX);
    return VLMP_OK;
}

static void put_requires(vlmp_json_writer *w, const draft *d)
{
    unsigned features = 0;
    for (size_t i = 0; i < d->plan->linear_count; i++)
        features |= vlmp_packed_features_of(&d->linears[i].scheme);
    vlmp_json_open(w, '[');
    for (int i = 0; i < VLMP_PACKED_FEATURES; i++)
        if (features & 1u << i) vlmp_json_put_string(w, vlmp_packed_feature(i));
    vlmp_json_close(w, ']');
}

static void put_linears(vlmp_json_writer *w, const draft *d)
{
    vlmp_json_open(w, '{');
    for (size_t i = 0; i < d->plan->linear_count; i++) {
        const vlmp_packed_linear *linear = &d->linears[i];
        vlmp_json_key(w, linear->name);
        vlmp_json_open(w, '{');
        vlmp_json_key(w, "shape");
        vlmp_json_open(w, '[');
        vlmp_json_put_int(w, linear->n);
        vlmp_json_put_int(w, linear->k);
        vlmp_json_close(w, ']');
        vlmp_json_key(w, "bits");
        vlmp_json_put_int(w, vlmp_code_types[linear->scheme.codes].bits);
        vlmp_json_key(w, "group");
        vlmp_json_put_int(w, linear->scheme.group);
        vlmp_json_key(w, "symmetric");
        vlmp_json_put_bool(w, linear->scheme.zeros == VLMP_ZEROS_NONE);
        vlmp_json_key(w, "activations");
        vlmp_json_put_string(w, linear->scheme.int8_activations ? "int8" : "float");
        if (vlmp_code_types[linear->scheme.codes].name != NULL)
            vlmp_json_pair_string(w, "codes", vlmp_code_types[linear->scheme.codes].name);
        if (vlmp_packed_names_scales(&linear->scheme))
            vlmp_json_pair_string(w, "scales", vlmp_dtype_name(linear->scheme.scales));
        vlmp_json_close(w, '}');
    }
    vlmp_json_close(w, '}');
}

/* Bytes that a text takes in a JSON string, without the quotes. */
static size_t quoted_length(const char *text, size_t length, bool *failed)
{
    vlmp_json_writer w = {0};
    vlmp_json_put_bytes(&w, text, length);
    *failed |= w.out.failed;
    size_t quoted = w.out.failed ? 0 : w.out.length - 2;
    vlmp_buffer_free(&w.out);
    return quoted;
}

/* Spaces that stand for what the entries have reserved and not used. */
static size_t unused_reserve(const draft *d, bool *failed)
{
    size_t spare = 0;
    for (size_t i = 0; i < d->entry_count; i++) {
        const char *value = d->entries[i].value != NULL ? d->entries[i].value : "";
        size_t used = quoted_length(value, strlen(value), failed);
        if (used < d->entries[i].reserve) spare += d->entries[i].reserve - used;
    }
    return spare;
}

static void put_header(draft *d, vlmp_json_writer lists[3], vlmp_st_pair *pairs)
{
    size_t length, n = 0;
    const char *config = d->plan->source->file(d->plan->source, "config.json", &length);
    pairs[n++] = (vlmp_st_pair){"format", "pt", 2};
    pairs[n++] = (vlmp_st_pair){"vlmp.version", VLMP_PACKED_VERSION, 1};
    pairs[n++] = (vlmp_st_pair){"vlmp.requires", lists[0].out.data, lists[0].out.length};
    pairs[n++] = (vlmp_st_pair){"vlmp.header", VLMP_ST_NO_HASH, 64};
    pairs[n++] = (vlmp_st_pair){"vlmp.digest", d->digest, 64};
    pairs[n++] = (vlmp_st_pair){"vlmp.config", config, length};
    pairs[n++] = (vlmp_st_pair){"vlmp.linears", lists[1].out.data, lists[1].out.length};
    pairs[n++] = (vlmp_st_pair){"vlmp.tensors", lists[2].out.data, lists[2].out.length};
    for (size_t i = 0; i < d->entry_count; i++) {
        const char *value = d->entries[i].value != NULL ? d->entries[i].value : "";
        pairs[n++] = (vlmp_st_pair){d->entries[i].key, value, strlen(value)};
    }
    vlmp_buffer_append(&d->header, "\0\0\0\0\0\0\0\0", 8);
    vlmp_st_put_header(&d->header, pairs, n, d->tensors, d->plan->tensor_count);
    bool failed = false;
    size_t end = d->header.length + unused_reserve(d, &failed);
    end = (end + VLMP_ALIGN - 1) / VLMP_ALIGN * VLMP_ALIGN;
    static const char spaces[] = "                                                                ";
    while (d->header.length < end && !d->header.failed) {
        size_t missing = end - d->header.length;
        vlmp_buffer_append(&d->header, spaces, missing < 64 ? missing : 64);
    }
    d->header.failed |= failed;
    for (int i = 0; i < 8 && !d->header.failed; i++)
        d->header.data[i] = (char)((uint64_t)(end - 8) >> 8 * i);
}

/* What is written must be read again: the reader's own scan is the judge, before any work. */
static int check_readable(const draft *d, vlmp_error *err)
{
    vlmp_error refused = {0};
    vlmp_safetensors file = {0};
    file.path = vlmp_arena_copy(&file.arena, "header", strlen("header"));
    int status;
    if (file.path == NULL)
        status = vlmp_fail_memory(&refused, "header of a packed file");
    else
        status = vlmp_st_scan_header(&file, d->header.data + 8, d->header.length - 8, &refused);
    vlmp_safetensors_close(&file);
    if (status != VLMP_ERR_INPUT) return vlmp_fail_tried(err, &refused);
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: cannot be packed, no program would read it: %.700s",
                     d->plan->source->path, refused.message);
}

/* d->header from the rest, its own hash included. */
static int build_header(draft *d, vlmp_error *err)
{
    vlmp_buffer_free(&d->header);
    d->header = (vlmp_buffer){0};
    vlmp_json_writer lists[3];
    memset(lists, 0, sizeof lists);
    put_requires(&lists[0], d);
    put_linears(&lists[1], d);
    vlmp_st_put_hashes(&lists[2], d->tensors, d->hashes, d->plan->tensor_count);
    vlmp_st_pair *pairs = vlmp_alloc(FIXED_PAIRS + d->entry_count, sizeof *pairs);
    bool failed = pairs == NULL;
    for (int i = 0; i < 3; i++)
        failed |= lists[i].out.failed;
    if (!failed) {
        put_header(d, lists, pairs);
        failed = d->header.failed;
    }
    free(pairs);
    for (int i = 0; i < 3; i++)
        vlmp_buffer_free(&lists[i].out);
    if (failed) return vlmp_fail_memory(err, "header of a packed file");
    if (d->header.length - 8 > VLMP_ST_MAX_HEADER)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: a header of %zu bytes is too large",
                         d->plan->source->path, d->header.length - 8);
    VLMP_TRY(check_readable(d, err));
    return vlmp_st_seal_header((unsigned char *)d->header.data, d->header.length, err);
}

int vlmp_packed_size(const vlmp_packed_plan *plan, const vlmp_packed_entry *entries,
                     size_t entry_count, uint64_t *bytes, vlmp_error *err)
{
    draft d;
    int status = draft_init(&d, plan, entries, entry_count, err);
    if (status == VLMP_OK) status = build_header(&d, err);
    size_t total = d.header.length;
    for (size_t i = 0; i < plan->tensor_count && status == VLMP_OK; i++)
        if (!vlmp_add_size(total, plan->tensors[i].bytes, &total))
            status =
                vlmp_fail(err, VLMP_ERR_INPUT, "%s: the packed size overflows", plan->source->path);
    *bytes = total;
    draft_free(&d);
    return status;
}

static int get_piece(const draft *d, const vlmp_tensor *tensor, size_t at, void *out, size_t length,
                     vlmp_packed_read_fn *read, void *arg, vlmp_error *err)
{
    if (tensor->data == NULL) return read(arg, tensor, at, out, length, err);
    memcpy(out, tensor->data + at, length);
    if (vlmp_packed_is_file(tensor->name)) return VLMP_OK;
    vlmp_tensor part = *tensor;
    part.data += at;
    part.file_offset += at;
    part.bytes = length;
    d->plan->source->release(d->plan->source, &part);
    return VLMP_OK;
}

static int write_tensor(const draft *d, size_t index, vlmp_outfile *file, unsigned char *piece,
                        vlmp_packed_read_fn *read, void *arg, vlmp_error *err)
{
    const vlmp_tensor *tensor = &d->tensors[index];
    vlmp_sha256 hash;
    vlmp_sha256_start(&hash);
    int status = VLMP_OK;
    for (size_t at = 0; at < tensor->bytes && status == VLMP_OK; at += PIECE) {
        size_t length = tensor->bytes - at < PIECE ? tensor->bytes - at : PIECE;
        status = get_piece(d, tensor, at, piece, length, read, arg, err);
        if (status != VLMP_OK) break;
        vlmp_sha256_update(&hash, piece, length);
        status = vlmp_outfile_write(file, piece, length, err);
    }
    vlmp_sha256_finish(&hash, d->hashes[index]);
    return status;
}

static int compute_digest(draft *d, vlmp_error *err)
{
    size_t count = 0;
    while (count < d->plan->tensor_count && !vlmp_packed_is_file(d->tensors[count].name))
        count++; /* files are last */
    return vlmp_tensors_digest(d->tensors, d->hashes, count, d->digest, err);
}

/* Over the place that was kept for it: the hashes are known only now. */
static int rewrite_header(draft *d, vlmp_outfile *file, vlmp_error *err)
{
    size_t reserved = d->header.length;
    VLMP_TRY(build_header(d, err));
    if (d->header.length != reserved)
        return vlmp_fail(err, VLMP_ERR_SYSTEM, "%s: the header changed its length; report this",
                         file->path);
    if (lseek(file->fd, 0, SEEK_SET) != 0)
        return vlmp_fail_errno(err, "%s: cannot seek", file->path);
    return vlmp_write_all(file->fd, d->header.data, d->header.length, file->path, err);
}

static int write_file(draft *d, vlmp_outfile *file, vlmp_packed_read_fn *read, void *arg,
                      vlmp_error *err)
{
    VLMP_TRY(build_header(d, err));
    VLMP_TRY(vlmp_outfile_write(file, d->header.data, d->header.length, err));
    unsigned char *piece = vlmp_alloc(PIECE, 1);
    if (piece == NULL) return vlmp_fail_memory(err, file->path);
    int status = VLMP_OK;
    for (size_t i = 0; i < d->plan->tensor_count && status == VLMP_OK; i++)
        status = write_tensor(d, i, file, piece, read, arg, err);
    free(piece);
    VLMP_TRY(status);
    VLMP_TRY(compute_digest(d, err));
    return rewrite_header(d, file, err);
}

int vlmp_packed_put(const vlmp_packed_plan *plan, const vlmp_packed_entry *entries,
                    size_t entry_count, vlmp_outfile *file, vlmp_packed_read_fn *read, void *arg,
                    char digest[VLMP_SHA256_HEX], vlmp_error *err)
{
    draft d;
    int status = draft_init(&d, plan, entries, entry_count, err);
    if (status == VLMP_OK) status = write_file(&d, file, read, arg, err);
    memcpy(digest, d.digest, VLMP_SHA256_HEX);
    draft_free(&d);
    return status;
}

int vlmp_packed_write(const vlmp_packed_plan *plan, const vlmp_packed_entry *entries,
                      size_t entry_count, const char *path, bool force, vlmp_packed_read_fn *read,
                      void *arg, char digest[VLMP_SHA256_HEX], vlmp_error *err)
{
    vlmp_outfile file = {.fd = -1};
    int status = vlmp_outfile_open(&file, path, force, err);
    if (status == VLMP_OK)
        status = vlmp_packed_put(plan, entries, entry_count, &file, read, arg, digest, err);
    if (status == VLMP_OK) status = vlmp_outfile_commit(&file, err);
    vlmp_outfile_abort(&file);
    return status;
}
