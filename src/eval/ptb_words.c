/* Rules for words: contractions, abbreviations, hyphenated words, addresses. */
#include <string.h>

#include "src/eval/ptb_text.h"

static const vlmp_ptb_match none = {0};

static vlmp_ptb_match whole(size_t length)
{
    return (vlmp_ptb_match){length, length, NULL, false};
}

/* Letters and digits from a letter on; a period, "!" or "?" between letters joins. */
static size_t word_length(const vlmp_ptb_line *l, size_t at)
{
    if (!vlmp_ptb_letter(vlmp_ptb_at(l, at))) return 0;
    size_t end = at + vlmp_ptb_run(l, at, vlmp_ptb_word);
    while (true) {
        uint32_t c = vlmp_ptb_at(l, end);
        if ((c != '.' && c != '!' && c != '?') || !vlmp_ptb_letter(vlmp_ptb_at(l, end + 1)))
            return end - at;
        end += 1 + vlmp_ptb_run(l, end + 1, vlmp_ptb_word);
    }
}

/* "'s", "'m", "'d", "'re", "'ve", "'ll" */
static size_t clitic_length(const vlmp_ptb_line *l, size_t at)
{
    static const char *const endings[] = {"re", "ve", "ll", "s", "m", "d"};
    if (!vlmp_ptb_apostrophe(vlmp_ptb_at(l, at))) return 0;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (vlmp_ptb_is(l, at + 1, endings[i])) return 1 + strlen(endings[i]);
    return 0;
}

/* cannot, gonna, 'twas …: one written word, two tokens. */
static vlmp_ptb_match assimilation(const vlmp_ptb_line *l, size_t at)
{
    static const struct {
        const char *text;
        size_t keep;
    } list[] = {{"cannot", 3}, {"'twas", 2}, {"'tis", 2},  {"gonna", 3},
                {"gotta", 3},  {"lemme", 3}, {"gimme", 3}, {"wanna", 3}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (vlmp_ptb_is(l, at, list[i].text))
            return (vlmp_ptb_match){strlen(list[i].text), list[i].keep, NULL, false};
    return none;
}

static vlmp_ptb_match word_before_clitic(const vlmp_ptb_line *l, size_t at)
{
    size_t length = word_length(l, at);
    size_t clitic = length > 0 ? clitic_length(l, at + length) : 0;
    return clitic > 0 ? (vlmp_ptb_match){length + clitic, length, NULL, false} : none;
}

/* doesn't: the n goes with the 't. */
static vlmp_ptb_match word_before_not(const vlmp_ptb_line *l, size_t at)
{
    size_t run = vlmp_ptb_run(l, at, vlmp_ptb_letter);
    if (run < 2 || !vlmp_ptb_is(l, at + run - 1, "n") ||
        !vlmp_ptb_any_apostrophe(vlmp_ptb_at(l, at + run)) || !vlmp_ptb_is(l, at + run + 1, "t"))
        return none;
    uint32_t before = vlmp_ptb_at(l, at + run - 2);
    if (!vlmp_ptb_ascii_letter(before) || (before | 0x20) == 'n') return none;
    return (vlmp_ptb_match){run + 2, run - 1, NULL, false};
}

static vlmp_ptb_match word(const vlmp_ptb_line *l, size_t at)
{
    return whole(word_length(l, at));
}

/* Words that begin with an apostrophe, or keep one inside or at the end. */
static vlmp_ptb_match leading_apostrophe(const vlmp_ptb_line *l, size_t at)
{
    static const char *const list[] = {"till", "til", "em", "cause"};
    if (!vlmp_ptb_apostrophe(vlmp_ptb_at(l, at))) return none;
    size_t best = 0;
    /* '05, the year, and 5'10, the height, at a word's end */
    if (vlmp_ptb_ascii_digit(vlmp_ptb_at(l, at + 1)) &&
        vlmp_ptb_ascii_digit(vlmp_ptb_at(l, at + 2)) && vlmp_ptb_space(vlmp_ptb_at(l, at + 3)))
        return (vlmp_ptb_match){4, 3, NULL, false};
    if (vlmp_ptb_is(l, at + 1, "n") &&
        (vlmp_ptb_at(l, at) != '\'' || !vlmp_ptb_letter(vlmp_ptb_at(l, at + 2))))
        best = vlmp_ptb_apostrophe(vlmp_ptb_at(l, at + 2)) ? 3 : 2;
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (best == 0 && vlmp_ptb_is(l, at + 1, list[i])) best = 1 + strlen(list[i]);
    uint32_t decade = vlmp_ptb_at(l, at + 1);
    if (decade >= '2' && decade <= '9' && vlmp_ptb_is(l, at + 2, "0s")) best = 4;
    return whole(best);
}

static vlmp_ptb_match trailing_apostrophe(const vlmp_ptb_line *l, size_t at)
{
    static const char *const list[] = {"dunkin", "somethin", "ol", "l", "d", "j"};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        size_t length = strlen(list[i]);
        if (vlmp_ptb_is(l, at, list[i]) && vlmp_ptb_apostrophe(vlmp_ptb_at(l, at + length)))
            return whole(length + 1);
    }
    if (vlmp_ptb_is(l, at, "c'mon")) return whole(5);
    return none;
}

/* M'Bow, n'est: a capital (not I, Y, or Z) or n, two letters behind. */
static vlmp_ptb_match capital_apostrophe(const vlmp_ptb_line *l, size_t at)
{
    uint32_t c = vlmp_ptb_at(l, at);
    bool first = (c >= 'A' && c <= 'X' && c != 'I') || c == 'Z' || c == 'n';
    if (!first || !vlmp_ptb_any_apostrophe(vlmp_ptb_at(l, at + 1)) ||
        !vlmp_ptb_letter(vlmp_ptb_at(l, at + 2)) || !vlmp_ptb_letter(vlmp_ptb_at(l, at + 3)))
        return none;
    return whole(2 + vlmp_ptb_run(l, at + 2, vlmp_ptb_word));
}

/* hawai'i, ma'am: after a vowel and before one, or before a capital. */
static vlmp_ptb_match inner_apostrophe(const vlmp_ptb_line *l, size_t at)
{
    size_t run = vlmp_ptb_run(l, at, vlmp_ptb_letter);
    if (run < 2) return none;
    uint32_t before = vlmp_ptb_at(l, at + run - 1), after = vlmp_ptb_at(l, at + run + 1);
    if (before > 0x7f || strchr("aeiouyAEIOUY", (int)before) == NULL ||
        !vlmp_ptb_any_apostrophe(vlmp_ptb_at(l, at + run)))
        return none;
    bool vowel = after < 0x80 && after != 0 && strchr("aeiou", (int)after) != NULL;
    if (!vowel && !(after >= 'A' && after <= 'Z')) return none;
    return whole(run + 1 + vlmp_ptb_run(l, at + run + 1, vlmp_ptb_letter));
}

static vlmp_ptb_match y_apostrophe(const vlmp_ptb_line *l, size_t at)
{
    if (!vlmp_ptb_is(l, at, "y") || !vlmp_ptb_apostrophe(vlmp_ptb_at(l, at + 1)) ||
        !vlmp_ptb_letter(vlmp_ptb_at(l, at + 2)))
        return none;
    return (vlmp_ptb_match){3, 2, NULL, false};
}

static bool url_character(uint32_t c)
{
    return !vlmp_ptb_space(c) && (c > 0x7f || c == 0 || strchr("\"<>|(){}", (int)c) == NULL);
}

static bool url_end(uint32_t c)
{
    return url_character(c) && (c > 0x7f || c == 0 || strchr(".!?,-", (int)c) == NULL);
}

/* The longest run of address characters from `at` that ends well; 0 if shorter than least. */
static size_t url_tail(const vlmp_ptb_line *l, size_t at, size_t least)
{
    size_t run = vlmp_ptb_run(l, at, url_character);
    while (run > 0 && !url_end(vlmp_ptb_at(l, at + run - 1)))
        run--;
    return run >= least ? run : 0;
}

static vlmp_ptb_match full_url(const vlmp_ptb_line *l, size_t at)
{
    size_t scheme = vlmp_ptb_is(l, at, "http://") ? 7 : vlmp_ptb_is(l, at, "https://") ? 8 : 0;
    size_t tail = scheme > 0 ? url_tail(l, at + scheme, 2) : 0;
    return tail > 0 ? whole(scheme + tail) : none;
}

static bool host_character(uint32_t c)
{
    return url_character(c) && (c > 0x7f || c == 0 || strchr(".!?,`':;/$", (int)c) == NULL);
}

/* Without "www." neither digits nor capitals. */
static bool plain_host_character(uint32_t c)
{
    return host_character(c) && (c < ',' || c > '_');
}

/* www.x.y, x.com with a path or without. */
static vlmp_ptb_match likely_url(const vlmp_ptb_line *l, size_t at)
{
    static const char *const domains[] = {"com", "net", "org", "edu"};
    bool www = vlmp_ptb_is(l, at, "www.");
    size_t end = at, best = 0;
    for (int part = 0; part < VLMP_PTB_PARTS; part++) {
        size_t run = vlmp_ptb_run(l, end, www ? host_character : plain_host_character);
        if (run == 0) break;
        end += run;
        if (end > at + run) {
            size_t letters = vlmp_ptb_run(l, end - run, vlmp_ptb_ascii_letter);
            if (www && end > at + run + 4 && letters >= 2)
                best = end - run - at + (letters < 4 ? letters : 4);
            for (size_t i = 0; i < 4; i++)
                if (vlmp_ptb_is(l, end - run, domains[i])) best = end - run - at + 3;
        }
        if (vlmp_ptb_at(l, end) != '.') break;
        end++;
    }
    if (best == 0) return none;
    size_t path = vlmp_ptb_at(l, at + best) == '/' ? url_tail(l, at + best + 1, 2) : 0;
    return whole(best + (path > 0 ? 1 + path : 0));
}

static bool email_character(uint32_t c)
{
    return !vlmp_ptb_space(c) && (c > 0x7f || c == 0 || strchr("\"<>|()", (int)c) == NULL);
}

static bool email_label(uint32_t c)
{
    return email_character(c) && c != '.';
}

/* name@host.host; angle brackets around it belong to it. Any "@" may be the one: the longest wins.
 */
static vlmp_ptb_match email(const vlmp_ptb_line *l, size_t at)
{
    size_t open = vlmp_ptb_at(l, at) == '<' ? 1 : 0, best = 0;
    if (!vlmp_ptb_ascii_word(vlmp_ptb_at(l, at + open))) return none;
    size_t run = open + vlmp_ptb_run(l, at + open, email_character);
    for (size_t mark = open + 1; mark < run; mark++) {
        if (vlmp_ptb_at(l, at + mark) != '@' || !email_label(vlmp_ptb_at(l, at + mark + 1)))
            continue;
        size_t length = mark + 1 + vlmp_ptb_run(l, at + mark + 1, email_label);
        for (int part = 0; part < VLMP_PTB_PARTS && vlmp_ptb_at(l, at + length) == '.' &&
                           email_label(vlmp_ptb_at(l, at + length + 1));
             part++)
            length += 1 + vlmp_ptb_run(l, at + length + 1, email_label);
        if (length > best) best = length;
        /* A later "@" in the same part gives the same length; the next part begins after a dot. */
        mark = length;
    }
    if (best == 0) return none;
    return whole(best + (vlmp_ptb_at(l, at + best) == '>' ? 1 : 0));
}

static bool tag_character(uint32_t c)
{
    return vlmp_ptb_ascii_word(c) || c == '_';
}

static vlmp_ptb_match hashtag(const vlmp_ptb_line *l, size_t at)
{
    uint32_t mark = vlmp_ptb_at(l, at), first = vlmp_ptb_at(l, at + 1);
    if ((mark != '#' && mark != '@') ||
        !(mark == '#' ? vlmp_ptb_letter(first) : vlmp_ptb_ascii_letter(first) || first == '_'))
        return none;
    return whole(1 + vlmp_ptb_run(l, at + 1, mark == '#' ? vlmp_ptb_letter : tag_character));
}

/* 's without a word before it, as in "747's"; a curly one even before more letters. */
static vlmp_ptb_match clitic(const vlmp_ptb_line *l, size_t at)
{
    size_t length = clitic_length(l, at);
    if (length == 0) return none;
    if (vlmp_ptb_at(l, at) != '\'') return (vlmp_ptb_match){length, length, NULL, true};
    if (vlmp_ptb_ascii_letter(vlmp_ptb_at(l, at + length))) return none;
    return (vlmp_ptb_match){length + 1, length, NULL, true};
}

static vlmp_ptb_match not_clitic(const vlmp_ptb_line *l, size_t at)
{
    if (!vlmp_ptb_is(l, at, "n") || !vlmp_ptb_any_apostrophe(vlmp_ptb_at(l, at + 1)) ||
        !vlmp_ptb_is(l, at + 2, "t") || vlmp_ptb_ascii_letter(vlmp_ptb_at(l, at + 3)))
        return none;
    return (vlmp_ptb_match){4, 3, NULL, true};
}

/* a/b, and/or, a-b/c-d: one or two slashes. */
static size_t slash_part(const vlmp_ptb_line *l, size_t at)
{
    size_t length = vlmp_ptb_run(l, at, vlmp_ptb_ascii_word);
    for (int i = 0; length > 0 && i < 2 && vlmp_ptb_at(l, at + length) == '-'; i++) {
        size_t run = vlmp_ptb_run(l, at + length + 1, vlmp_ptb_ascii_letter);
        if (run == 0) break;
        length += 1 + run;
    }
    return length;
}

static vlmp_ptb_match slashed(const vlmp_ptb_line *l, size_t at)
{
    size_t length = slash_part(l, at), parts = 0;
    while (length > 0 && parts < 2 && vlmp_ptb_at(l, at + length) == '/') {
        size_t next = slash_part(l, at + length + 1);
        if (next == 0) break;
        length += 1 + next;
        parts++;
    }
    return parts > 0 ? whole(length) : none;
}

/* U.S, a.m: letters with periods between; the length without a last period. */
static size_t acronym_length(const vlmp_ptb_line *l, size_t at)
{
    if (!vlmp_ptb_ascii_letter(vlmp_ptb_at(l, at))) return 0;
    size_t length = 1;
    while (vlmp_ptb_at(l, at + length) == '.' &&
           vlmp_ptb_ascii_letter(vlmp_ptb_at(l, at + length + 1)))
        length += 2;
    return length;
}

/* Half-eaten, 12-25-2010, U.S.-based. */
static bool joint_first(uint32_t c)
{
    return vlmp_ptb_ascii_word(c) || c == '.' || c == ',';
}

static vlmp_ptb_match hyphenated(const vlmp_ptb_line *l, size_t at)
{
    if (!vlmp_ptb_ascii_word(vlmp_ptb_at(l, at))) return none;
    size_t end = at + vlmp_ptb_run(l, at, joint_first), parts = 0;
    while (true) {
        uint32_t c = vlmp_ptb_at(l, end);
        size_t run = c == '-' ? vlmp_ptb_run(l, end + 1, vlmp_ptb_ascii_word) : 0;
        if (run == 0) break;
        size_t acronym = acronym_length(l, end + 1);
        if (acronym > 1 && vlmp_ptb_at(l, end + 1 + acronym) == '.') run = acronym + 1;
        end += 1 + run;
        parts++;
    }
    if (parts == 0) return none;
    /* In front of a comma or the like its period stays. */
    if (vlmp_ptb_at(l, end) == '.' &&
        strchr(",;:", (int)(vlmp_ptb_at(l, end + 1) & 0x7f)) != NULL &&
        vlmp_ptb_at(l, end + 1) < 0x80 && vlmp_ptb_at(l, end + 1) != 0)
        return (vlmp_ptb_match){end - at + 2, end - at + 1, NULL, false};
    return whole(end - at);
}

static bool hyphen(uint32_t c)
{
    return c == '-' || c == '_' || c == 0x058a || c == 0x2010 || c == 0x2011;
}

/* d'art, o'clock, 5th, 2-by-4, foo_bar. */
static size_t thing_part(const vlmp_ptb_line *l, size_t at)
{
    uint32_t c = vlmp_ptb_at(l, at) | 0x20;
    size_t length = 0;
    if ((c == 'd' || c == 'o' || c == 'l') && vlmp_ptb_any_apostrophe(vlmp_ptb_at(l, at + 1)) &&
        vlmp_ptb_word(vlmp_ptb_at(l, at + 2)) && vlmp_ptb_word(vlmp_ptb_at(l, at + 3)))
        length = 2;
    return length + vlmp_ptb_run(l, at + length, vlmp_ptb_word);
}

static vlmp_ptb_match thing(const vlmp_ptb_line *l, size_t at)
{
    size_t length = thing_part(l, at);
    while (length > 0 && hyphen(vlmp_ptb_at(l, at + length))) {
        size_t next = thing_part(l, at + length + 1);
        if (next == 0) break;
        length += 1 + next;
    }
    return whole(length);
}

/* AT&T, A+B, R&amp;B: capitals only. */
static bool capital(uint32_t c)
{
    return c >= 'A' && c <= 'Z';
}

static vlmp_ptb_match capitals_and(const vlmp_ptb_line *l, size_t at)
{
    size_t length = vlmp_ptb_run(l, at, capital), parts = 0;
    while (length > 0) {
        uint32_t c = vlmp_ptb_at(l, at + length);
        size_t mark = c != '&' && c != '+' ? 0 : vlmp_ptb_is(l, at + length, "&amp;") ? 5 : 1;
        size_t run = mark > 0 ? vlmp_ptb_run(l, at + length + mark, capital) : 0;
        if (run == 0) break;
        length += mark + run;
        parts++;
    }
    return parts > 0 ? whole(length) : none;
}

/* A word or number whose period stays because a comma, colon or semicolon follows. */
static vlmp_ptb_match period_inside(const vlmp_ptb_line *l, size_t at)
{
    size_t length = word_length(l, at);
    size_t other = thing(l, at).reach;
    if (other > length) length = other;
    uint32_t after = vlmp_ptb_at(l, at + length + 1);
    if (length == 0 || vlmp_ptb_at(l, at + length) != '.' ||
        (after != ',' && after != ';' && after != ':'))
        return none;
    return (vlmp_ptb_match){length + 2, length + 1, NULL, false};
}

vlmp_ptb_rule *const vlmp_ptb_word_rules[] = {assimilation,
                                              word_before_clitic,
                                              word_before_not,
                                              word,
                                              leading_apostrophe,
                                              trailing_apostrophe,
                                              capital_apostrophe,
                                              inner_apostrophe,
                                              y_apostrophe,
                                              full_url,
                                              likely_url,
                                              email,
                                              hashtag,
                                              clitic,
                                              not_clitic,
                                              slashed,
                                              period_inside,
                                              hyphenated,
                                              thing,
                                              capitals_and,
                                              NULL};
