#include "src/calib/sampling.h"

#include <ctype.h>
#include <stdlib.h>

#include "src/base/memory.h"
#include "src/base/rng.h"

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The two values that cut `values` into thirds; `values` is sorted in place. */
static void thirds(double *values, size_t count, double cut[2])
{
    qsort(values, count, sizeof *values, compare_doubles);
    cut[0] = values[count / 3];
    cut[1] = values[2 * count / 3];
}

static int third_of(double value, const double cut[2])
{
    return (value >= cut[0]) + (cut[1] > cut[0] && value >= cut[1]);
}

uint64_t vlmp_first_word(const char *prompt)
{
    uint64_t word = 0;
    while (isspace((unsigned char)*prompt))
        prompt++;
    for (int i = 0; i < 8; i++) {
        word <<= 8;
        if (*prompt != '\0' && !isspace((unsigned char)*prompt)) word |= (unsigned char)*prompt++;
    }
    return word;
}

struct labelled {
    const vlmp_stratum_key *key;
    int aspect, answer;
    size_t index;
};

static int compare_strata(const struct labelled *x, const struct labelled *y)
{
    if (x->aspect != y->aspect) return x->aspect - y->aspect;
    if (x->answer != y->answer) return x->answer - y->answer;
    return (x->key->first_word > y->key->first_word) - (x->key->first_word < y->key->first_word);
}

static int compare_labelled(const void *a, const void *b)
{
    const struct labelled *x = a, *y = b;
    int order = compare_strata(x, y);
    return order != 0 ? order : (x->index > y->index) - (x->index < y->index);
}

static void label(struct labelled *items, vlmp_stratum_key *keys, size_t count, double *values)
{
    double aspect_cut[2], answer_cut[2];
    for (size_t i = 0; i < count; i++)
        values[i] = keys[i].aspect;
    thirds(values, count, aspect_cut);
    for (size_t i = 0; i < count; i++)
        values[i] = (double)keys[i].answer_length;
    thirds(values, count, answer_cut);
    for (size_t i = 0; i < count; i++)
        items[i] = (struct labelled){
            .key = &keys[i],
            .index = i,
            .aspect = third_of(keys[i].aspect, aspect_cut),
            .answer = third_of((double)keys[i].answer_length, answer_cut),
        };
    qsort(items, count, sizeof *items, compare_labelled);
}

/* Fisher-Yates, as far as needed. */
static void draw(struct labelled *items, size_t count, size_t take, vlmp_rng *rng)
{
    for (size_t i = 0; i < take; i++) {
        size_t j = i + (size_t)vlmp_rng_below(rng, count - i);
        struct labelled swap = items[i];
        items[i] = items[j];
        items[j] = swap;
    }
}

static int compare_sizes(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

/* begin[s] … begin[s + 1]: stratum s in items. Proportional shares; the seats left over by rounding
 * down go to the largest remainders, the earlier stratum first among equals. */
static void share(const size_t *begin, size_t strata, size_t count, size_t want, size_t *take)
{
    size_t given = 0;
    for (size_t s = 0; s < strata; s++) {
        take[s] = (begin[s + 1] - begin[s]) * want / count;
        given += take[s];
    }
    while (given < want) {
        size_t best = strata, best_remainder = 0;
        for (size_t s = 0; s < strata; s++) {
            size_t size = begin[s + 1] - begin[s];
            if (take[s] > size * want / count || take[s] >= size) continue;
            size_t remainder = size * want % count;
            if (best == strata || remainder > best_remainder) best = s, best_remainder = remainder;
        }
        if (best == strata) break;
        take[best]++;
        given++;
    }
}

static void choose(struct labelled *items, vlmp_stratum_key *keys, size_t *begin, size_t *take,
                   size_t count, size_t want, uint64_t seed, size_t *chosen, size_t *strata)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || compare_strata(&items[i - 1], &items[i]) != 0) begin[n++] = i;
        keys[items[i].index].stratum = (int)(n - 1);
    }
    begin[n] = count;
    *strata = n;
    share(begin, n, count, want, take);
    vlmp_rng rng = {seed};
    size_t out = 0;
    for (size_t s = 0; s < n; s++) {
        draw(items + begin[s], begin[s + 1] - begin[s], take[s], &rng);
        for (size_t i = 0; i < take[s]; i++)
            chosen[out++] = items[begin[s] + i].index;
    }
    qsort(chosen, out, sizeof *chosen, compare_sizes);
}

int vlmp_choose_samples(vlmp_stratum_key *keys, size_t count, size_t want, uint64_t seed,
                        size_t *chosen, size_t *strata, vlmp_error *err)
{
    if (want > count) want = count;
    struct labelled *items = vlmp_alloc(count, sizeof *items);
    double *values = vlmp_alloc(count, sizeof *values);
    size_t *begin = vlmp_alloc(count + 1, sizeof *begin);
    size_t *take = vlmp_alloc(count, sizeof *take);
    int status = VLMP_OK;
    if (items != NULL && values != NULL && begin != NULL && take != NULL) {
        label(items, keys, count, values);
        choose(items, keys, begin, take, count, want, seed, chosen, strata);
    } else {
        status = vlmp_fail_memory(err, "choice of samples");
    }
    free(items);
    free(values);
    free(begin);
    free(take);
    return status;
}
