/* The sink of a quantizer, kept in a journal until the packed file is put together. */
#pragma once

#include "formats/packed.h"
#include "src/base/journal.h"
#include "src/store/sink.h"

/* path, identity and mode are those of vlmp_journal_open. Close with vlmp_journal_sink_close. */
int vlmp_journal_sink_open(vlmp_sink **out, const char *path, const char *identity,
                           vlmp_journal_mode mode, vlmp_error *err);
void vlmp_journal_sink_close(vlmp_sink *sink); /* NULL is allowed; the journal's file stays */

/* Steps that are finished, in order; NULL behind the last. */
const char *vlmp_journal_sink_step(const vlmp_sink *sink, size_t index);

/* A vlmp_packed_read_fn: arg is the sink. A tensor that was not put, or with another type or shape,
 * is VLMP_ERR_INPUT. */
int vlmp_journal_sink_read(void *arg, const vlmp_tensor *tensor, uint64_t offset, void *out,
                           size_t length, vlmp_error *err);
