#include "formats/journal_sink.h"

#include <stdlib.h>
#include <string.h>

#include "formats/safetensors_write.h"
#include "src/base/memory.h"

/* A tensor's payload is this head, then its bytes; a step's is its record. */
#define HEAD        (8 * (2 + VLMP_MAX_RANK)) /* bytes: dtype, rank, shape, little-endian */
#define KIND_TENSOR 1
#define KIND_STEP   2
#define KIND_NOTE   3

typedef struct {
    vlmp_sink base; /* first */
    vlmp_journal *journal;
    char *text; /* what record() or noted() gave last */
} journal_sink;

static void put_head(unsigned char head[HEAD], const vlmp_tensor *tensor)
{
    int64_t values[2 + VLMP_MAX_RANK] = {tensor->dtype, tensor->rank};
    for (int i = 0; i < tensor->rank; i++)
        values[2 + i] = tensor->shape[i];
    for (int i = 0; i < HEAD; i++)
        head[i] = (unsigned char)((uint64_t)values[i / 8] >> 8 * (i % 8));
}

static bool get_head(const unsigned char head[HEAD], vlmp_tensor *tensor)
{
    int64_t values[2 + VLMP_MAX_RANK];
    for (int i = 0; i < 2 + VLMP_MAX_RANK; i++) {
        uint64_t value = 0;
        for (int b = 8; b-- > 0;)
            value = value << 8 | head[8 * i + b];
        values[i] = (int64_t)value;
    }
    if (values[0] < 0 || values[0] >= VLMP_DTYPE_COUNT || values[1] < 0 ||
        values[1] > VLMP_MAX_RANK)
        return false;
    tensor->dtype = (vlmp_dtype)values[0];
    tensor->rank = (int)values[1];
    memcpy(tensor->shape, values + 2, sizeof tensor->shape);
    return true;
}

static int sink_put(vlmp_sink *self, const vlmp_tensor *tensor, vlmp_error *err)
{
    unsigned char head[HEAD];
    size_t bytes;
    put_head(head, tensor);
    VLMP_TRY(vlmp_st_bytes(tensor, &bytes, err));
    return vlmp_journal_append(((journal_sink *)self)->journal, KIND_TENSOR, tensor->name, head,
                               HEAD, tensor->data, bytes, err);
}

static int commit_text(vlmp_sink *self, uint32_t kind, const char *name, const char *text,
                       vlmp_error *err)
{
    vlmp_journal *journal = ((journal_sink *)self)->journal;
    VLMP_TRY(vlmp_journal_append(journal, kind, name, NULL, 0, text, strlen(text), err));
    return vlmp_journal_commit(journal, err);
}

static int sink_commit(vlmp_sink *self, const char *step, const char *record, vlmp_error *err)
{
    return commit_text(self, KIND_STEP, step, record, err);
}

static int sink_note(vlmp_sink *self, const char *name, const char *text, vlmp_error *err)
{
    return commit_text(self, KIND_NOTE, name, text, err);
}

static int read_text(vlmp_sink *self, uint32_t kind, const char *name, const char **text,
                     vlmp_error *err)
{
    journal_sink *sink = (journal_sink *)self;
    *text = NULL;
    free(sink->text);
    sink->text = NULL;
    const vlmp_journal_record *record = vlmp_journal_find(sink->journal, kind, name);
    if (record == NULL) return VLMP_OK;
    size_t length = (size_t)record->length;
    sink->text = vlmp_calloc(length + 1, 1);
    if (sink->text == NULL) return vlmp_fail_memory(err, name);
    VLMP_TRY(vlmp_journal_read(sink->journal, record, 0, sink->text, length, err));
    *text = sink->text;
    return VLMP_OK;
}

static int sink_record(vlmp_sink *self, const char *step, const char **record, vlmp_error *err)
{
    return read_text(self, KIND_STEP, step, record, err);
}

static int sink_noted(vlmp_sink *self, const char *name, const char **text, vlmp_error *err)
{
    return read_text(self, KIND_NOTE, name, text, err);
}

/* The record of a tensor and what its head says. */
static int find_tensor(const journal_sink *sink, const char *name,
                       const vlmp_journal_record **record, vlmp_tensor *out, vlmp_error *err)
{
    unsigned char head[HEAD];
    *record = vlmp_journal_find(sink->journal, KIND_TENSOR, name);
    if (*record == NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "the journal has no tensor '%.200s'; start over with --force", name);
    VLMP_TRY(vlmp_journal_read(sink->journal, *record, 0, head, HEAD, err));
    *out = (vlmp_tensor){.name = (*record)->name, .source_name = (*record)->name};
    out->bytes = (size_t)((*record)->length - HEAD);
    size_t bytes;
    if (get_head(head, out) && vlmp_st_bytes(out, &bytes, err) == VLMP_OK && bytes == out->bytes)
        return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "the journal's tensor '%.200s' is damaged; start over with --force", name);
}

static int sink_get(vlmp_sink *self, const char *name, vlmp_tensor *out, void **memory,
                    vlmp_error *err)
{
    const journal_sink *sink = (const journal_sink *)self;
    const vlmp_journal_record *record;
    *memory = NULL;
    VLMP_TRY(find_tensor(sink, name, &record, out, err));
    *memory = vlmp_alloc(out->bytes, 1);
    if (*memory == NULL) return vlmp_fail_memory(err, name);
    out->data = *memory;
    int status = vlmp_journal_read(sink->journal, record, HEAD, *memory, out->bytes, err);
    if (status == VLMP_OK) return VLMP_OK;
    free(*memory);
    *memory = NULL;
    out->data = NULL;
    return status;
}

int vlmp_journal_sink_open(vlmp_sink **out, const char *path, const char *identity,
                           vlmp_journal_mode mode, vlmp_error *err)
{
    *out = NULL;
    journal_sink *sink = vlmp_calloc(1, sizeof *sink);
    if (sink == NULL) return vlmp_fail_memory(err, path);
    sink->base = (vlmp_sink){sink_put, sink_commit, sink_record, sink_note, sink_noted, sink_get};
    int status = vlmp_journal_open(&sink->journal, path, identity, mode, err);
    if (status != VLMP_OK) {
        free(sink);
        return status;
    }
    *out = &sink->base;
    return VLMP_OK;
}

void vlmp_journal_sink_close(vlmp_sink *self)
{
    if (self == NULL) return;
    journal_sink *sink = (journal_sink *)self;
    vlmp_journal_close(sink->journal);
    free(sink->text);
    free(sink);
}

const char *vlmp_journal_sink_step(const vlmp_sink *self, size_t index)
{
    const vlmp_journal *journal = ((const journal_sink *)self)->journal;
    for (size_t i = 0; i < vlmp_journal_count(journal); i++)
        if (vlmp_journal_at(journal, i)->kind == KIND_STEP && index-- == 0)
            return vlmp_journal_at(journal, i)->name;
    return NULL;
}

int vlmp_journal_sink_read(void *arg, const vlmp_tensor *tensor, uint64_t offset, void *out,
                           size_t length, vlmp_error *err)
{
    const journal_sink *sink = arg;
    const vlmp_journal_record *record;
    vlmp_tensor stored;
    VLMP_TRY(find_tensor(sink, tensor->name, &record, &stored, err));
    bool same =
        stored.dtype == tensor->dtype && stored.rank == tensor->rank &&
        memcmp(stored.shape, tensor->shape, sizeof *stored.shape * (size_t)stored.rank) == 0;
    if (!same)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "the journal's tensor '%.200s' has another type or shape than the plan; "
                         "start over with --force",
                         tensor->name);
    return vlmp_journal_read(sink->journal, record, HEAD + offset, out, length, err);
}
