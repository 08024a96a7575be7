#include "src/eval/token_classes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/base/utf8.h"
#include "src/eval/ptb_text.h"

/* Each between spaces. "one" is a number wherever it stands. */
static const char cardinals[] =
    " zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen "
    "sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety "
    "hundred thousand million billion dozen ";

/* The closed classes of English. Left out of them are prepositions and adverbs of place (above,
 * behind, between, inside, left, near, over, under, …), because the picture decides them, and
 * quantifiers that count (many, several, no, …). */
static const char functions[] =
    " a an the "
    "i me my mine myself you your yours yourself he him his himself she her hers herself it its "
    "itself we us our ours ourselves they them their theirs themselves this that these those "
    "who whom whose which what when where why how whether there here "
    "and or but nor so yet if then than because while although though unless until since as "
    "of to in on at by for from with without about into onto upon per via during "
    "be am is are was were been being have has had having do does did doing done will would shall "
    "should can could may might must ought need "
    "don doesn didn isn aren wasn weren haven hasn hadn couldn wouldn shouldn mustn ain "
    "not also too very just only even again ever else such same own "
    "any some each every either neither both all other another ";

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static bool same_word(const char *a, const char *b, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (lower(a[i]) != lower(b[i])) return false;
    return true;
}

static bool listed(const char *list, const char *word, size_t length)
{
    for (const char *at = list + 1; *at != '\0'; at += strcspn(at, " ") + 1)
        if (strcspn(at, " ") == length && same_word(at, word, length)) return true;
    return false;
}

/* The character at `at`, and its bytes; what is no UTF-8 is a byte that belongs to no word. */
static uint32_t code_at(const char *text, size_t at, size_t length, size_t *bytes)
{
    const unsigned char *p = (const unsigned char *)text + at;
    *bytes = vlmp_utf8_length(p, length - at);
    if (*bytes > 0) return vlmp_utf8_code(p, *bytes);
    *bytes = 1;
    return 0;
}

/* The next word from *at on: its place, *at behind it. false: none is left. */
static bool next_word(const char *text, size_t length, size_t *at, size_t *from, bool *digit)
{
    size_t bytes;
    while (*at < length && !vlmp_ptb_word(code_at(text, *at, length, &bytes)))
        *at += bytes;
    *from = *at;
    *digit = false;
    while (*at < length) {
        uint32_t c = code_at(text, *at, length, &bytes);
        bool joins = vlmp_ptb_apostrophe(c) && *at + bytes < length &&
                     vlmp_ptb_letter(code_at(text, *at + bytes, length, &(size_t){0}));
        if (!vlmp_ptb_word(c) && !joins) break;
        *digit = *digit || vlmp_ptb_digit(c);
        *at += bytes;
    }
    return *at > *from;
}

static bool holds_word(const char *text, const char *word, size_t word_length)
{
    size_t at = 0, from, length = strlen(text);
    bool digit;
    while (next_word(text, length, &at, &from, &digit))
        if (at - from == word_length && same_word(text + from, word, word_length)) return true;
    return false;
}

static char class_of(const char *word, size_t length, bool digit, const char *question)
{
    /* "it's", "don't": what stands before the apostrophe decides. */
    size_t stem = 0, bytes;
    while (stem < length && !vlmp_ptb_apostrophe(code_at(word, stem, length, &bytes)))
        stem += bytes;
    if (stem == 0) stem = length;
    bool number = digit || listed(cardinals, word, stem);
    if (!number && listed(functions, word, stem)) return 'F';
    bool said = holds_word(question, word, length);
    return number ? (said ? 'n' : 'N') : (said ? 'c' : 'C');
}

int vlmp_token_classes(char *out, const char *text, const size_t *ends, size_t count,
                       const char *question, vlmp_error *err)
{
    size_t length = count > 0 ? ends[count - 1] : 0, at = 0, from;
    bool digit;
    char *classes = vlmp_alloc(length, 1); /* of each byte */
    if (classes == NULL) return vlmp_fail_memory(err, "kinds of tokens");
    memset(classes, 'M', length);
    while (next_word(text, length, &at, &from, &digit))
        memset(classes + from, class_of(text + from, at - from, digit, question), at - from);
    for (size_t t = count; t-- > 0;) {
        size_t begin = t > 0 ? ends[t - 1] : 0;
        out[t] = begin == ends[t] && t + 1 < count ? out[t + 1] : 'M';
        for (size_t i = begin; i < ends[t] && out[t] == 'M'; i++)
            out[t] = classes[i];
    }
    free(classes);
    return VLMP_OK;
}

static const struct {
    const char *name, *key;
    const char *letters;
} kinds[VLMP_KL_CLASSES] = {
    [VLMP_KL_NUMBERS] = {"numbers", "numbers", "Nn"},
    [VLMP_KL_CONTENT] = {"content words", "content_words", "Cc"},
    [VLMP_KL_FUNCTION] = {"function words", "function_words", "F"},
    [VLMP_KL_MARKS] = {"marks and end", "marks", "M"},
    [VLMP_KL_PICTURE] = {"from the picture", "picture", "NC"},
    [VLMP_KL_TEXT] = {"from the text", "text", "ncFM"},
};

const char *vlmp_class_name(vlmp_kl_class which)
{
    return kinds[which].name;
}

const char *vlmp_class_key(vlmp_kl_class which)
{
    return kinds[which].key;
}

/* What a sample has of each class. */
struct sums {
    double tokens[VLMP_KL_CLASSES], kl[VLMP_KL_CLASSES];
};

struct means {
    const struct sums *samples; /* [count] */
    size_t count;
};

/* NAN for a class without tokens. */
static void mean_of_each(void *arg, const uint32_t *counts, double *out)
{
    const struct means *m = arg;
    struct sums all = {{0}, {0}};
    for (size_t i = 0; i < m->count; i++)
        for (int c = 0; c < VLMP_KL_CLASSES && counts[i] > 0; c++) {
            all.tokens[c] += counts[i] * m->samples[i].tokens[c];
            all.kl[c] += counts[i] * m->samples[i].kl[c];
        }
    for (int c = 0; c < VLMP_KL_CLASSES; c++)
        out[c] = all.tokens[c] > 0 ? all.kl[c] / all.tokens[c] : NAN;
}

static void add_sample(struct sums *out, const vlmp_sample_result *s)
{
    for (size_t t = 0; t < s->tokens; t++)
        for (int c = 0; c < VLMP_KL_CLASSES; c++) {
            if (strchr(kinds[c].letters, s->classes[t]) == NULL) continue;
            out->tokens[c]++;
            out->kl[c] += s->kl[t];
        }
}

int vlmp_class_kl_fill(vlmp_eval_result *result, uint64_t seed, vlmp_error *err)
{
    size_t count = (size_t)result->samples;
    struct sums *samples = vlmp_calloc(count, sizeof *samples);
    struct means means = {samples, count};
    double values[VLMP_KL_CLASSES];
    vlmp_interval intervals[VLMP_KL_CLASSES];
    vlmp_bootstrap bootstrap = {seed, count, VLMP_RESAMPLES};
    if (samples == NULL) return vlmp_fail_memory(err, "kinds of tokens");
    uint32_t *once = vlmp_alloc(count, sizeof *once);
    int status = once != NULL ? VLMP_OK : vlmp_fail_memory(err, "kinds of tokens");
    for (size_t i = 0; i < count && status == VLMP_OK; i++) {
        add_sample(&samples[i], &result->per_sample[i]);
        once[i] = 1;
    }
    if (status == VLMP_OK) mean_of_each(&means, once, values);
    if (status == VLMP_OK)
        status =
            vlmp_bootstrap_run(&bootstrap, mean_of_each, &means, VLMP_KL_CLASSES, intervals, err);
    for (int c = 0; c < VLMP_KL_CLASSES && status == VLMP_OK; c++) {
        double tokens = 0;
        for (size_t i = 0; i < count; i++)
            tokens += samples[i].tokens[c];
        result->kl_classes[c] = (vlmp_class_kl){(int64_t)tokens, values[c], intervals[c]};
    }
    free(once);
    free(samples);
    return status;
}
