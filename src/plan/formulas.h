/* The arithmetic of a plan: sizes as double, exact below 2^53. Each function is one formula. */
#pragma once

#include <stddef.h>

/* Bytes of keys and values: two of each row, for every layer and head of keys and values. */
double vlmp_kv_bytes(int layers, int kv_heads, int head_dim, double rows, double value_bytes);

/* Bytes of attention's scores, of every sequence and head, queries × keys of them at a time. */
double vlmp_score_bytes(double sequences, int heads, double queries, double keys,
                        double value_bytes);

/* ‖W − Q(W)‖ of weights that are rounded to the nearest multiple of a step: an error is even in
 * ±Δ/2, so that Δ²/12 is its expected square, and the norm is √(Σ Δ²/12) over the weights.
 * steps[count]: of each group, of `group` weights. */
double vlmp_rounding_error(const double *steps, size_t count, double group);

/* The same over ‖W‖, of normally distributed weights whose groups share a step of largest/reach:
 * √(E[largest²]/12)/reach, the largest of `group` weights of variance 1. */
double vlmp_normal_error(double group, double reach);

/* Σ l / (B·m): what part of a batch's rows is not padding, where all are padded to the longest,
 * rounded up to a multiple. */
double vlmp_padded_efficiency(const double *lengths, size_t count, double multiple);

/* Σ l / Σ ⌈l/page⌉·page: the same of pages, where no sequence waits for the longest. */
double vlmp_paged_efficiency(const double *lengths, size_t count, double page);

/* What computes: rates of one device or several that share the work evenly. */
typedef struct {
    double bandwidth; /* bytes/s of its memory */
    double flops;     /* F16 or BF16 products, F32 sums; 2 a product and sum */
    double int8;      /* the same of int8; 0: none, or not known */
} vlmp_rates;

/* Seconds of work that reads so many bytes and computes so many operations: the slower of both, for
 * no device does better. */
double vlmp_roofline_seconds(double bytes, double operations, double bandwidth, double rate);

/* A request's latency: the tower once, the prompt once, then each further token, and what all else
 * takes. tokens: new ones; the prompt's pass gives the first. */
double vlmp_request_seconds(double encode, double prefill, double decode, double tokens,
                            double overhead);
