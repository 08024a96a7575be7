/* Rules for abbreviations, numbers, entities, quotes and symbols. */
#include <string.h>

#include "src/eval/ptb_text.h"

static const vlmp_ptb_match none = {0};

static vlmp_ptb_match whole(size_t length)
{
    return (vlmp_ptb_match){length, length, NULL, false};
}

/* Lower-case words in " a b c ", each at most 9 letters. */
static bool in_list(const char *list, const vlmp_ptb_line *l, size_t at, size_t length)
{
    char word[12];
    if (length == 0 || length > 9) return false;
    word[0] = ' ';
    for (size_t i = 0; i < length; i++)
        word[i + 1] = (char)(vlmp_ptb_at(l, at + i) | 0x20);
    word[length + 1] = ' ';
    word[length + 2] = '\0';
    return strstr(list, word) != NULL;
}

/* Words that keep their period, whatever follows; only before a number; only capitalized. */
static const char always[] =
    " al cf co ct dr ft ga jr ky lt md mo mr ms mt ph rd rt sq sr st va vs vt wm adj adm adv ala "
    "apr aug ave bhd cie col cos cpl dak dec det drs ens esq est etc ext feb fla fri gen gov hon "
    "inc ind jan jos jul jun kan ltd maj mar mfg mme mon mrs mtg neb nev nov oct pfc plc pte pty "
    "pvt rep rev sen sep seq sfc sgt spc ste sys tel thu tue wed wis wyo alex ariz assn asst atty "
    "bldg blvd brig bros capt cmdr colo conn corp dept elec govs insp intl invt kans mich minn "
    "mlle mont msgr natl okla penn ppte ppty pres prof ptes ptys reps sens sept supt tenn tues "
    "univ wisc assoc attys bancorp calif comdr lieut messrs profs supts thurs treas ";
static const char before_number[] = " art ca fig figs no nos op pp prop ";
static const char capitalized[] = " ark az del ill la mass miss ore pa tex wash ";

/* After a single letter with a period, these words with a capital begin a sentence. */
static const char starters[] =
    " a about according additionally after an as at but earlier he her here however if in it last "
    "many more now once one other our she since so some such that the their then there these they "
    "this we what when while yet you ";

static vlmp_ptb_match abbreviation(const vlmp_ptb_line *l, size_t at)
{
    size_t length = vlmp_ptb_run(l, at, vlmp_ptb_ascii_letter);
    if (vlmp_ptb_at(l, at + length) != '.') return none;
    uint32_t first = vlmp_ptb_at(l, at), next = vlmp_ptb_at(l, at + length + 1);
    bool number = vlmp_ptb_digit(next) ||
                  (vlmp_ptb_space(next) && vlmp_ptb_digit(vlmp_ptb_at(l, at + length + 2)));
    if (in_list(always, l, at, length) || (number && in_list(before_number, l, at, length)) ||
        (first >= 'A' && first <= 'Z' && in_list(capitalized, l, at, length)))
        return whole(length + 1);
    return none;
}

/* Ph.D., Ed.D. */
static vlmp_ptb_match degree(const vlmp_ptb_line *l, size_t at)
{
    return vlmp_ptb_is(l, at, "ph.d.") || vlmp_ptb_is(l, at, "ed.d.") ? whole(5) : none;
}

/* Whether white space, a word that begins sentences and white space follow; the length of all. */
static size_t sentence_start(const vlmp_ptb_line *l, size_t at)
{
    size_t next = at;
    while (next < l->count && vlmp_ptb_space(l->code[next]))
        next++;
    uint32_t first = vlmp_ptb_at(l, next);
    if (next == at || first < 'A' || first > 'Z') return 0;
    size_t run = vlmp_ptb_run(l, next, vlmp_ptb_ascii_letter);
    bool title = in_list(" mr mrs ms ", l, next, run) && vlmp_ptb_at(l, next + run) == '.';
    if (!title && !in_list(starters, l, next, run)) return 0;
    run += title;
    return vlmp_ptb_space(vlmp_ptb_at(l, next + run)) ? next + run + 1 - at : 0;
}

/* "U.S.", "p.m.", "B."; a single letter loses its period at what looks like a sentence's end. */
static vlmp_ptb_match acronym(const vlmp_ptb_line *l, size_t at)
{
    if (!vlmp_ptb_ascii_letter(vlmp_ptb_at(l, at))) return none;
    size_t length = 1;
    while (vlmp_ptb_at(l, at + length) == '.' &&
           vlmp_ptb_ascii_letter(vlmp_ptb_at(l, at + length + 1)))
        length += 2;
    if (vlmp_ptb_at(l, at + length) != '.') return none;
    length++;
    size_t start = length == 2 ? sentence_start(l, at + length) : 0;
    if (start > 0) return (vlmp_ptb_match){length + start, 1, NULL, false};
    return whole(length);
}

/* Digits, with periods, commas and colons before digits: "1,000", "10:30", ".5". */
static size_t number_length(const vlmp_ptb_line *l, size_t at)
{
    size_t length = vlmp_ptb_run(l, at, vlmp_ptb_digit);
    while (true) {
        uint32_t c = vlmp_ptb_at(l, at + length);
        if (c != '.' && c != ',' && c != ':' && c != 0xad && c != 0x66b && c != 0x66c)
            return length;
        size_t run = vlmp_ptb_run(l, at + length + 1, vlmp_ptb_digit);
        if (run == 0) return length;
        length += 1 + run;
    }
}

static vlmp_ptb_match number(const vlmp_ptb_line *l, size_t at)
{
    uint32_t c = vlmp_ptb_at(l, at);
    size_t sign = c == '-' || c == '+' ? 1 : 0;
    size_t length = number_length(l, at + sign);
    return length > 0 ? whole(sign + length) : none;
}

static size_t digits(const vlmp_ptb_line *l, size_t at, size_t least, size_t most)
{
    size_t run = vlmp_ptb_run(l, at, vlmp_ptb_digit);
    return run < least ? 0 : run < most ? run : most;
}

/* 12/25/2010 */
static vlmp_ptb_match date(const vlmp_ptb_line *l, size_t at)
{
    size_t length = 0;
    for (int part = 0; part < 3; part++) {
        size_t run = digits(l, at + length, part < 2 ? 1 : 2, part < 2 ? 2 : 4);
        if (run == 0) return none;
        length += run;
        uint32_t c = vlmp_ptb_at(l, at + length);
        if (part < 2 && c != '/' && c != '-') return none;
        length += part < 2;
    }
    return whole(length);
}

/* 1/2, 2-1/2 */
static vlmp_ptb_match fraction(const vlmp_ptb_line *l, size_t at)
{
    size_t length = digits(l, at, 1, 4);
    if (length == 0) return none;
    if (vlmp_ptb_at(l, at + length) == '-' || vlmp_ptb_at(l, at + length) == ' ') {
        size_t run = digits(l, at + length + 1, 1, 4);
        if (run == 0) return none;
        length += 1 + run;
    }
    uint32_t slash = vlmp_ptb_at(l, at + length);
    size_t run = slash == '/' || slash == 0x2044 ? digits(l, at + length + 1, 1, 4) : 0;
    return run > 0 ? whole(length + 1 + run) : none;
}

/* (555) 555-1234 */
static vlmp_ptb_match telephone(const vlmp_ptb_line *l, size_t at)
{
    if (vlmp_ptb_at(l, at) != '(') return none;
    size_t area = digits(l, at + 1, 2, 3);
    if (area == 0 || vlmp_ptb_at(l, at + 1 + area) != ')') return none;
    size_t length = area + 2;
    if (vlmp_ptb_at(l, at + length) == ' ') length++;
    size_t first = digits(l, at + length, 3, 4);
    if (first == 0) return none;
    length += first;
    uint32_t gap = vlmp_ptb_at(l, at + length);
    if (gap == '-' || gap == ' ' || gap == 0xa0) length++;
    size_t second = digits(l, at + length, 3, 5);
    return second > 0 ? whole(length + second) : none;
}

/* Characters and entities that are written as something else. */
static vlmp_ptb_match replaced(const vlmp_ptb_line *l, size_t at)
{
    static const struct {
        const char *entity, *token;
    } entities[] = {{"&amp;", "&"},  {"&lt;", "<"},     {"&gt;", ">"},     {"&quot;", "''"},
                    {"&apos;", "'"}, {"&mdash;", "--"}, {"&ndash;", "--"}, {"&nbsp;", ""}};
    static const struct {
        uint32_t code;
        const char *token;
    } characters[] = {{0x80, "$"},    {0xa2, "cents"}, {0xa3, "#"},     {0xa4, "$"},
                      {0xbc, "1/4"},  {0xbd, "1/2"},   {0xbe, "3/4"},   {0x20a0, "$"},
                      {0x20ac, "$"},  {0x2153, "1/3"}, {0x2154, "2/3"}, {'(', "-lrb-"},
                      {')', "-rrb-"}, {'[', "-lsb-"},  {']', "-rsb-"},  {'{', "-lcb-"},
                      {'}', "-rcb-"}};
    uint32_t c = vlmp_ptb_at(l, at);
    if (c == '&')
        for (size_t i = 0; i < sizeof entities / sizeof *entities; i++)
            if (vlmp_ptb_is(l, at, entities[i].entity)) {
                size_t length = strlen(entities[i].entity);
                return (vlmp_ptb_match){length, length, entities[i].token, false};
            }
    for (size_t i = 0; i < sizeof characters / sizeof *characters; i++)
        if (c == characters[i].code) return (vlmp_ptb_match){1, 1, characters[i].token, false};
    return none;
}

/* &#39; stays as it is. */
static vlmp_ptb_match numeric_entity(const vlmp_ptb_line *l, size_t at)
{
    if (!vlmp_ptb_is(l, at, "&#")) return none;
    size_t run = vlmp_ptb_run(l, at + 2, vlmp_ptb_ascii_digit);
    return run > 0 && vlmp_ptb_at(l, at + 2 + run) == ';' ? whole(run + 3) : none;
}

static bool inside_declaration(uint32_t c)
{
    return c != '<' && c != '>' && c != '\n' && c != '\r';
}

static bool attribute_character(uint32_t c)
{
    return vlmp_ptb_ascii_word(c) || c == '_' || c == ':' || c == '.' || c == '-';
}

static bool tag_character(uint32_t c)
{
    return attribute_character(c) && c != ':';
}

static bool value_character(uint32_t c)
{
    return inside_declaration(c) && !vlmp_ptb_space(c) && c != '"' && c != '\'';
}

/* The length of white space and one attribute, with its value if it has one. */
static size_t attribute_length(const vlmp_ptb_line *l, size_t at)
{
    size_t space = vlmp_ptb_run(l, at, vlmp_ptb_space);
    size_t name = vlmp_ptb_run(l, at + space, attribute_character);
    if (space == 0 || name == 0) return 0;
    size_t length = space + name;
    if (vlmp_ptb_at(l, at + length) != '=') return length;
    length++;
    uint32_t quote = vlmp_ptb_at(l, at + length);
    if (quote != '"' && quote != '\'')
        return length + vlmp_ptb_run(l, at + length, value_character);
    size_t end = length + 1;
    while (end < VLMP_PTB_RUN && vlmp_ptb_at(l, at + end) != quote &&
           vlmp_ptb_at(l, at + end) != '\n')
        end++;
    return vlmp_ptb_at(l, at + end) == quote ? end + 1 : 0;
}

/* <b>, </b>, <a href="x">, <!-- … --> */
static vlmp_ptb_match tag(const vlmp_ptb_line *l, size_t at)
{
    if (vlmp_ptb_at(l, at) != '<') return none;
    uint32_t first = vlmp_ptb_at(l, at + 1);
    if (first == '!' || first == '?') {
        size_t end = 2 + vlmp_ptb_run(l, at + 2, inside_declaration);
        return vlmp_ptb_at(l, at + end) == '>' ? whole(end + 1) : none;
    }
    size_t length = first == '/' ? 2 : 1;
    if (!vlmp_ptb_ascii_letter(vlmp_ptb_at(l, at + length))) return none;
    length += vlmp_ptb_run(l, at + length, tag_character);
    size_t more = 1;
    for (int part = 0; part < VLMP_PTB_PARTS && more > 0; part++, length += more)
        more = attribute_length(l, at + length);
    length += vlmp_ptb_run(l, at + length, vlmp_ptb_space);
    if (vlmp_ptb_at(l, at + length) == '/') length++;
    return vlmp_ptb_at(l, at + length) == '>' ? whole(length + 1) : none;
}

/* m², x₁₂, 10⁻⁵: runs of raised or lowered digits. */
static bool raised(uint32_t c)
{
    return c == 0xb2 || c == 0xb3 || c == 0xb9 || c == 0x2070 || (c >= 0x2074 && c <= 0x2079);
}

static bool lowered(uint32_t c)
{
    return c >= 0x2080 && c <= 0x2089;
}

static vlmp_ptb_match small_number(const vlmp_ptb_line *l, size_t at)
{
    uint32_t sign = vlmp_ptb_at(l, at);
    size_t up = sign == 0x207a || sign == 0x207b ? 1 : 0;
    size_t down = sign == 0x208a || sign == 0x208b ? 1 : 0;
    size_t run = down > 0 ? 0 : vlmp_ptb_run(l, at + up, raised);
    if (run > 0) return whole(up + run);
    run = up > 0 ? 0 : vlmp_ptb_run(l, at + down, lowered);
    return run > 0 ? whole(down + run) : none;
}

static vlmp_ptb_match language(const vlmp_ptb_line *l, size_t at)
{
    return vlmp_ptb_is(l, at, "c++") ? whole(3) : none;
}

static vlmp_ptb_match smiley(const vlmp_ptb_line *l, size_t at)
{
    size_t length = vlmp_ptb_at(l, at) == '<' || vlmp_ptb_at(l, at) == '>' ? 1 : 0;
    uint32_t eyes = vlmp_ptb_at(l, at + length);
    if (eyes != ':' && eyes != ';' && eyes != '=') return none;
    length++;
    uint32_t nose = vlmp_ptb_at(l, at + length), after = vlmp_ptb_at(l, at + length + 1);
    static const char mouths[] = "()DPdpO\\{@|[]";
    bool has_nose = nose != 0 && nose < 0x80 && strchr("-o*'", (int)nose) != NULL && after != 0 &&
                    after < 0x80 && strchr(mouths, (int)after) != NULL;
    if (has_nose) length++;
    uint32_t mouth = vlmp_ptb_at(l, at + length), next = vlmp_ptb_at(l, at + length + 1);
    if (mouth == 0 || mouth >= 0x80 || strchr(mouths, (int)mouth) == NULL ||
        vlmp_ptb_ascii_word(next))
        return none;
    return (vlmp_ptb_match){length + 2, length + 1, NULL, false};
}

/* Dashes, periods, quotes: almost all are thrown away later. */
static vlmp_ptb_match hyphens(const vlmp_ptb_line *l, size_t at)
{
    size_t run = 0;
    while (vlmp_ptb_at(l, at + run) == '-')
        run++;
    return run == 0 ? none : (vlmp_ptb_match){run, run, run <= 4 ? "--" : NULL, false};
}

static vlmp_ptb_match dots(const vlmp_ptb_line *l, size_t at)
{
    size_t run = 0;
    while (run < 5 && vlmp_ptb_at(l, at + run) == '.')
        run++;
    return run >= 3 ? (vlmp_ptb_match){run, run, "...", false} : none;
}

/* '' and `' */
static vlmp_ptb_match double_quote(const vlmp_ptb_line *l, size_t at)
{
    uint32_t first = vlmp_ptb_at(l, at);
    if ((first != '\'' && first != '`') || vlmp_ptb_at(l, at + 1) != '\'') return none;
    uint32_t next = vlmp_ptb_at(l, at + 2);
    return (vlmp_ptb_match){vlmp_ptb_ascii_word(next) || next == '$' ? 3 : 2, 2, "''", false};
}

static vlmp_ptb_match marks(const vlmp_ptb_line *l, size_t at)
{
    size_t run = 0;
    while (vlmp_ptb_at(l, at + run) == '?' || vlmp_ptb_at(l, at + run) == '!')
        run++;
    return whole(run);
}

static const char *quote_text(uint32_t c)
{
    switch (c) {
    case '`':
    case 0x91:
    case 0x2018:
    case 0x201b:
    case 0x2039:
        return "`";
    case 0x92:
    case 0x2019:
    case 0x203a:
        return "'";
    case 0x93:
    case 0x201c:
    case 0xab:
        return "``";
    case 0x94:
    case 0x201d:
    case 0xbb:
        return "''";
    default:
        return NULL;
    }
}

/* Two quotes side by side are one token; pairs that are no usual quote are not thrown away. */
static vlmp_ptb_match quotes(const vlmp_ptb_line *l, size_t at)
{
    const char *a = quote_text(vlmp_ptb_at(l, at)), *b = quote_text(vlmp_ptb_at(l, at + 1));
    if (a == NULL) return none;
    if (b == NULL) return (vlmp_ptb_match){1, 1, "'", false};
    static const char *const joined[] = {"''",   "`'",   "'`",   "```",  "'``", "`''", "'''",
                                         "````", "``''", "''``", "''''", "``'", "''`"};
    for (size_t i = 0; i < sizeof joined / sizeof *joined; i++) {
        size_t half = strlen(a);
        if (strncmp(joined[i], a, half) == 0 && strcmp(joined[i] + half, b) == 0)
            return (vlmp_ptb_match){2, 2, joined[i], false};
    }
    return (vlmp_ptb_match){2, 2, "``", false};
}

/* Runs of one mark: "***", "__", "##", "@@", ">>". */
static vlmp_ptb_match runs(const vlmp_ptb_line *l, size_t at)
{
    uint32_t c = vlmp_ptb_at(l, at);
    size_t run = 1;
    if (c == '*' || c == '_' || c == '#' || c == '@') {
        while (vlmp_ptb_at(l, at + run) == c)
            run++;
        return whole(run);
    }
    if ((c == '<' || c == '>') && vlmp_ptb_at(l, at + 1) == c) return whole(2);
    return none;
}

/* "$", "US$" */
static vlmp_ptb_match dollar(const vlmp_ptb_line *l, size_t at)
{
    size_t run = 0;
    while (vlmp_ptb_at(l, at + run) >= 'A' && vlmp_ptb_at(l, at + run) <= 'Z')
        run++;
    return vlmp_ptb_at(l, at + run) == '$' ? whole(run + 1) : none;
}

/* photo1.jpg, 1.png: names that the rule for words misses because of digits. */
static vlmp_ptb_match file_name(const vlmp_ptb_line *l, size_t at)
{
    static const char extensions[] =
        " bat bmp c class cgi cpp dll doc docx exe gif gz h htm html jar java jpeg jpg mov mp3 pdf "
        "php pl png ppt ps py sql tar txt wav x xml zip ";
    size_t length = vlmp_ptb_run(l, at, vlmp_ptb_word), best = 0;
    while (length > 0 && vlmp_ptb_at(l, at + length) == '.') {
        size_t run = vlmp_ptb_run(l, at + length + 1, vlmp_ptb_word);
        if (run == 0) break;
        uint32_t next = vlmp_ptb_at(l, at + length + 1 + run);
        bool ends =
            vlmp_ptb_space(next) || (next < 0x80 && next != 0 && strchr(".?!,\"'<(", (int)next));
        if (ends && in_list(extensions, l, at + length + 1, run)) best = length + 1 + run;
        length += 1 + run;
    }
    return best > 0 ? (vlmp_ptb_match){best + 1, best, NULL, false} : none;
}

static vlmp_ptb_match symbol(const vlmp_ptb_line *l, size_t at)
{
    return vlmp_ptb_symbol(vlmp_ptb_at(l, at)) ? whole(1) : none;
}

vlmp_ptb_rule *const vlmp_ptb_other_rules[] = {
    tag,          replaced,     numeric_entity, date,      number, fraction,     dollar,   acronym,
    abbreviation, degree,       file_name,      telephone, smiley, small_number, language, hyphens,
    dots,         double_quote, marks,          quotes,    runs,   symbol,       NULL};
