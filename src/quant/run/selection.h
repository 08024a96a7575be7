/* Which part of a calibration a run computes with: what quantizing costs is tokens, and what it
 * needs is some times as many as the widest site has inputs. */
#pragma once

#include "src/quant/method/moments.h"
#include "src/quant/run/driver.h"

/* Rows that methods see unless something else is said: so many for each input of the widest site,
 * but no fewer than VLMP_TOKENS_LEAST, of no fewer samples than VLMP_SAMPLES_LEAST, because rows of
 * one picture are alike. With 16 the held-out error is within 2 % of that of many more, with 3 it
 * is 31 % above (docs/measurements/2026-11-26-tokens.md). */
#define VLMP_TOKENS_AN_INPUT 16
#define VLMP_TOKENS_LEAST    16384
#define VLMP_SAMPLES_LEAST   32

/* Where samples have more rows than were asked for, second moments take one of so many rows of
 * pictures, with that weight; no fewer than this. */
#define VLMP_STRIDE_MOST 8

struct vlmp_selection {
    int64_t budget; /* rows asked for; 0: all samples count, with all their rows */
    uint64_t seed;
    int *order; /* [seen + held] samples by index: those that methods see, then those held out */
    int seen, held, samples;                  /* samples: of the calibration */
    int64_t seen_tokens, held_tokens, tokens; /* tokens: of the calibration */
    int stride, tower_stride; /* rows of pictures for each that counts, in text model and tower */
};

#define VLMP_TOKENS_AUTO (-1) /* what the widest site needs */

/* Of job's calibration, for the linears that its plan quantizes by statistics: samples with so many
 * rows that methods see (0: all samples), drawn with seed, and in proportion samples held out. Free
 * it. */
int vlmp_select(vlmp_selection *selection, const vlmp_quantize_job *job, int64_t tokens,
                uint64_t seed, vlmp_error *err);
void vlmp_selection_free(vlmp_selection *selection); /* leaves it empty */

/* vlmp_moments_add of x [batch->rows][k] and difference (at NULL: none): all rows, or those that
 * the job's selection takes, weighted so that the expected sums are those of all. tower: rows are
 * of tiles, all of them of pictures. */
int vlmp_selection_add(const vlmp_quantize_job *job, vlmp_moments *moments, bool tower,
                       const vlmp_batch *batch, unsigned set, vlmp_act x, vlmp_act difference,
                       vlmp_error *err);
