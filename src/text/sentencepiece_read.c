/* The protobuf of a tokenizer.model: fields of three messages, one inside the other; fields that
 * are not asked for are skipped. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/text/sentencepiece.h"
#include "src/text/unicode/unicode.h"

#define BPE 2

typedef enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 } wire_type;

typedef struct {
    const unsigned char *file; /* where the file begins */
    const unsigned char *at, *end;
    const char *where;
} cursor;

typedef struct {
    uint64_t number;
    wire_type wire;
    uint64_t value; /* of a varint, or the bits of a fixed one */
    cursor inside;  /* of bytes */
} field;

typedef int field_fn(vlmp_sentencepiece *m, const field *f, vlmp_error *err);

static int damaged(const cursor *c, const unsigned char *at, const char *what, vlmp_error *err)
{
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: byte %zu: %s; it is damaged or no SentencePiece model: download it "
                     "again, or put a tokenizer.json beside it",
                     c->where, (size_t)(at - c->file), what);
}

static bool read_varint(cursor *c, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; shift < 64 && c->at < c->end; shift += 7) {
        uint64_t byte = *c->at++;
        if (shift == 63 && byte > 1) return false;
        *out |= (byte & 127) << shift;
        if (byte < 128) return true;
    }
    return false;
}

/* size bytes, little-endian. */
static bool read_fixed(cursor *c, int size, uint64_t *out)
{
    if (c->end - c->at < size) return false;
    *out = 0;
    for (int i = 0; i < size; i++)
        *out |= (uint64_t)c->at[i] << (8 * i);
    c->at += size;
    return true;
}

static int read_field(cursor *c, field *f, vlmp_error *err)
{
    const unsigned char *start = c->at;
    uint64_t key;
    if (!read_varint(c, &key) || key >> 3 == 0)
        return damaged(c, start, "not the start of a field", err);
    *f = (field){.number = key >> 3, .wire = (wire_type)(key & 7), .inside = *c};
    switch (f->wire) {
    case WIRE_VARINT:
        if (!read_varint(c, &f->value)) return damaged(c, start, "a number without an end", err);
        return VLMP_OK;
    case WIRE_64:
    case WIRE_32:
        if (!read_fixed(c, f->wire == WIRE_64 ? 8 : 4, &f->value))
            return damaged(c, start, "a number without an end", err);
        return VLMP_OK;
    case WIRE_BYTES:
        if (!read_varint(c, &f->value) || f->value > (uint64_t)(c->end - c->at))
            return damaged(c, start, "a field that is longer than what holds it", err);
        f->inside.at = c->at;
        c->at += f->value;
        f->inside.end = c->at;
        return VLMP_OK;
    }
    return damaged(c, start, "a field of an unknown kind", err);
}

static int read_message(vlmp_sentencepiece *m, cursor c, field_fn *take, vlmp_error *err)
{
    while (c.at < c.end) {
        field f = {0};
        VLMP_TRY(read_field(&c, &f, err));
        VLMP_TRY(take(m, &f, err));
    }
    return VLMP_OK;
}

static int expect(const field *f, wire_type wire, vlmp_error *err)
{
    if (f->wire == wire) return VLMP_OK;
    return damaged(&f->inside, f->inside.at, "a field of another kind than it should be", err);
}

static int take_flag(const field *f, bool *out, vlmp_error *err)
{
    VLMP_TRY(expect(f, WIRE_VARINT, err));
    *out = f->value != 0;
    return VLMP_OK;
}

/* An id; negative ones, which are written as 64 bits, mean that there is none. */
static int take_id(const field *f, int32_t *out, vlmp_error *err)
{
    VLMP_TRY(expect(f, WIRE_VARINT, err));
    if (f->value >> 63 == 0 && f->value >= VLMP_SENTENCEPIECE_MAX_PIECES)
        return damaged(&f->inside, f->inside.at, "an id that no piece can have", err);
    *out = f->value >> 63 != 0 ? -1 : (int32_t)f->value;
    return VLMP_OK;
}

/* Of a message SentencePiece: the piece that was added last. */
static int take_of_piece(vlmp_sentencepiece *m, const field *f, vlmp_error *err)
{
    vlmp_sp_piece *piece = &m->pieces[m->count - 1];
    uint32_t bits = (uint32_t)f->value;
    switch (f->number) {
    case 1:
        VLMP_TRY(expect(f, WIRE_BYTES, err));
        piece->text = (const char *)f->inside.at;
        piece->length = (size_t)f->value;
        return VLMP_OK;
    case 2:
        VLMP_TRY(expect(f, WIRE_32, err));
        memcpy(&piece->score, &bits, sizeof bits);
        return VLMP_OK;
    case 3:
        VLMP_TRY(expect(f, WIRE_VARINT, err));
        if (f->value < VLMP_SP_NORMAL || f->value > VLMP_SP_BYTE)
            return damaged(&f->inside, f->inside.at, "a piece of an unknown type", err);
        piece->type = (vlmp_sp_type)f->value;
        return VLMP_OK;
    }
    return VLMP_OK;
}

static const char *fault_of(const vlmp_sp_piece *piece)
{
    if (piece->length == 0) return "a piece without text";
    if (piece->length > VLMP_SENTENCEPIECE_MAX_PIECE) return "a piece of more than 512 bytes";
    if (memchr(piece->text, 0, piece->length) != NULL ||
        vlmp_utf8_valid(piece->text, piece->length) < piece->length)
        return "a piece that is not UTF-8";
    return isfinite(piece->score) ? NULL : "a score that is no number";
}

static int take_piece(vlmp_sentencepiece *m, const field *f, vlmp_error *err)
{
    VLMP_TRY(expect(f, WIRE_BYTES, err));
    if (m->count == VLMP_SENTENCEPIECE_MAX_PIECES)
        return damaged(&f->inside, f->inside.at, "more pieces than any tokenizer has", err);
    if (m->count == m->capacity) {
        size_t capacity = m->capacity == 0 ? 1024 : 2 * m->capacity;
        vlmp_sp_piece *pieces = realloc(m->pieces, capacity * sizeof *pieces);
        if (pieces == NULL) return vlmp_fail_memory(err, f->inside.where);
        m->pieces = pieces;
        m->capacity = capacity;
    }
    m->pieces[m->count++] = (vlmp_sp_piece){.text = "", .type = VLMP_SP_NORMAL};
    VLMP_TRY(read_message(m, f->inside, take_of_piece, err));
    const char *fault = fault_of(&m->pieces[m->count - 1]);
    return fault == NULL ? VLMP_OK : damaged(&f->inside, f->inside.at, fault, err);
}

static int take_of_trainer(vlmp_sentencepiece *m, const field *f, vlmp_error *err)
{
    switch (f->number) {
    case 3:
        VLMP_TRY(expect(f, WIRE_VARINT, err));
        m->training = (int64_t)f->value;
        return VLMP_OK;
    case 24:
        return take_flag(f, &m->suffix, err);
    case 35:
        return take_flag(f, &m->byte_fallback, err);
    case 40:
        return take_id(f, &m->unknown, err);
    case 41:
        return take_id(f, &m->begin, err);
    case 42:
        return take_id(f, &m->end, err);
    }
    return VLMP_OK;
}

static int take_of_normalizer(vlmp_sentencepiece *m, const field *f, vlmp_error *err)
{
    switch (f->number) {
    case 2:
        VLMP_TRY(expect(f, WIRE_BYTES, err));
        m->table = (size_t)f->value;
        return VLMP_OK;
    case 3:
        return take_flag(f, &m->dummy_prefix, err);
    case 4:
        return take_flag(f, &m->trims, err);
    case 5:
        return take_flag(f, &m->escapes, err);
    }
    return VLMP_OK;
}

static int take_of_model(vlmp_sentencepiece *m, const field *f, vlmp_error *err)
{
    if (f->number == 1) return take_piece(m, f, err);
    if (f->number != 2 && f->number != 3) return VLMP_OK;
    VLMP_TRY(expect(f, WIRE_BYTES, err));
    return read_message(m, f->inside, f->number == 2 ? take_of_trainer : take_of_normalizer, err);
}

static int refuse_rest(const vlmp_sentencepiece *m, vlmp_error *err)
{
    static const char *const ways[] = {"unigram", "BPE", "word", "char"};
    if (m->training != BPE)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: a SentencePiece model of the type %s; only BPE is read, which the "
                         "text models of the supported families have",
                         m->where,
                         m->training >= 1 && m->training <= 4 ? ways[m->training - 1] : "unknown");
    const struct {
        bool is;
        const char *what;
    } rest[] = {
        {m->table > 0, "precompiled_charsmap, a table that changes characters,"},
        {m->trims, "remove_extra_whitespaces"},
        {!m->escapes, "escape_whitespaces false"},
        {m->suffix, "treat_whitespace_as_suffix"},
    };
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++)
        if (rest[i].is)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: its %s is not supported; the tokenizers of Llama, Vicuna and "
                             "Mistral have none of it",
                             m->where, rest[i].what);
    for (size_t i = 0; i < m->count; i++)
        if (m->pieces[i].type == VLMP_SP_UNUSED)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: piece %zu is marked unused, which is not "
                             "supported",
                             m->where, i);
    return VLMP_OK;
}

static int check_ids(const vlmp_sentencepiece *m, vlmp_error *err)
{
    const int32_t ids[] = {m->unknown, m->begin, m->end};
    for (size_t i = 0; i < 3; i++)
        if (ids[i] >= (int32_t)m->count)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: the trainer's id %d is none of its %zu pieces; download it again",
                             m->where, ids[i], m->count);
    if (m->unknown >= 0 && m->pieces[m->unknown].type == VLMP_SP_UNKNOWN) return VLMP_OK;
    return vlmp_fail(
        err, VLMP_ERR_INPUT,
        "%s: unk_id is not the id of a piece for unknown characters; download it again", m->where);
}

int vlmp_sentencepiece_read(vlmp_sentencepiece *out, const void *data, size_t length,
                            const char *where, vlmp_error *err)
{
    /* What the specification takes for fields that a file leaves out. */
    *out = (vlmp_sentencepiece){.where = where,
                                .begin = 1,
                                .end = 2,
                                .training = 1,
                                .dummy_prefix = true,
                                .trims = true,
                                .escapes = true};
    if (length > VLMP_SENTENCEPIECE_MAX_BYTES)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: %zu bytes, more than %zu; is it a tokenizer?",
                         where, length, VLMP_SENTENCEPIECE_MAX_BYTES);
    const unsigned char *bytes = length > 0 ? data : (const void *)"";
    cursor c = {.file = bytes, .at = bytes, .end = bytes + length, .where = where};
    VLMP_TRY(read_message(out, c, take_of_model, err));
    if (out->count == 0) return damaged(&c, c.at, "it has no pieces", err);
    VLMP_TRY(refuse_rest(out, err));
    return check_ids(out, err);
}

void vlmp_sentencepiece_free(vlmp_sentencepiece *model)
{
    free(model->pieces);
    *model = (vlmp_sentencepiece){0};
}
