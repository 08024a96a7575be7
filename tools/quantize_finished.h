/* A run that is resumed although its output is there already. */
#pragma once

#include "src/flow/identity.h"
#include "tools/quantize_report.h"

/* Checks that the packed file at path, every byte of it, is what a run on this model with this
 * recipe and provenance (JSON texts) gives; counts what it holds. Another run's is VLMP_ERR_INPUT,
 * no packed file VLMP_ERR_USAGE, both with a hint at --force. */
int vlmp_quantize_check_finished(const char *path, const vlmp_identity *model, const char *recipe,
                                 const char *provenance, vlmp_quantize_summary *summary,
                                 char digest[VLMP_SHA256_HEX], vlmp_error *err);
