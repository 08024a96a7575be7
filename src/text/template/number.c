/* Python's numbers: integers of 64 bits, floats, and how they print. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/text/template/jinja.h"

bool vlmp_jinja_is_number(const vlmp_jinja_value *value)
{
    return value->kind == VALUE_INTEGER || value->kind == VALUE_BOOL || value->kind == VALUE_FLOAT;
}

int64_t vlmp_jinja_integer_of(const vlmp_jinja_value *value)
{
    return value->kind == VALUE_BOOL ? value->truth : value->number;
}

double vlmp_jinja_real_of(const vlmp_jinja_value *value)
{
    return value->kind == VALUE_FLOAT ? value->real : (double)vlmp_jinja_integer_of(value);
}

int vlmp_jinja_compare_numbers(const vlmp_jinja_value *a, const vlmp_jinja_value *b)
{
    if (a->kind == VALUE_FLOAT || b->kind == VALUE_FLOAT) {
        double x = vlmp_jinja_real_of(a), y = vlmp_jinja_real_of(b);
        return (x > y) - (x < y);
    }
    int64_t x = vlmp_jinja_integer_of(a), y = vlmp_jinja_integer_of(b);
    return (x > y) - (x < y);
}

vlmp_jinja_value vlmp_jinja_integer(int64_t number)
{
    return (vlmp_jinja_value){.kind = VALUE_INTEGER, .number = number};
}

/* Python's division rounds down, and its remainder has the divisor's sign. */
static int divide(vlmp_jinja_context *c, const vlmp_jinja_node *node, int64_t a, int64_t b,
                  bool remainder, int64_t *out)
{
    if (b == 0 || (a == INT64_MIN && b == -1))
        return vlmp_jinja_fail(c, node, "a division by zero");
    int64_t quotient = a / b, rest = a % b;
    if (rest != 0 && (rest < 0) != (b < 0)) {
        quotient--;
        rest += b;
    }
    *out = remainder ? rest : quotient;
    return VLMP_OK;
}

static int real_result(vlmp_jinja_context *c, const vlmp_jinja_node *node, double real,
                       vlmp_jinja_value *out)
{
    if (!isfinite(real)) return vlmp_jinja_fail(c, node, "a number that is too large");
    *out = (vlmp_jinja_value){.kind = VALUE_FLOAT, .real = real};
    return VLMP_OK;
}

static int real_arithmetic(vlmp_jinja_context *c, const vlmp_jinja_node *node, int op, double a,
                           double b, vlmp_jinja_value *out)
{
    double rest, quotient;
    switch (op) {
    case '+':
        return real_result(c, node, a + b, out);
    case '-':
        return real_result(c, node, a - b, out);
    case '*':
        return real_result(c, node, a * b, out);
    case '/':
        if (b == 0) return vlmp_jinja_fail(c, node, "a division by zero");
        return real_result(c, node, a / b, out);
    case OPERATOR2('*', '*'):
        if (a == 0 && b < 0) return vlmp_jinja_fail(c, node, "a division by zero");
        return real_result(c, node, pow(a, b), out);
    default:
        if (b == 0) return vlmp_jinja_fail(c, node, "a division by zero");
        rest = fmod(a, b);
        quotient = (a - rest) / b;
        if (rest != 0 && (b < 0) != (rest < 0)) {
            rest += b;
            quotient -= 1;
        } else if (rest == 0) {
            rest = copysign(0, b);
        }
        if (op == '%') return real_result(c, node, rest, out);
        double down = floor(quotient);
        if (quotient - down > 0.5) down += 1;
        return real_result(c, node, quotient != 0 ? down : copysign(0, a / b), out);
    }
}

static int power(vlmp_jinja_context *c, const vlmp_jinja_node *node, int64_t base, int64_t exponent,
                 vlmp_jinja_value *out)
{
    if (exponent < 0)
        return real_arithmetic(c, node, OPERATOR2('*', '*'), (double)base, (double)exponent, out);
    int64_t result = 1;
    bool small = base >= -1 && base <= 1;
    if (small && exponent > 1) exponent = 2 - exponent % 2; /* the same power */
    for (int64_t i = 0; i < exponent; i++)
        if (__builtin_mul_overflow(result, base, &result))
            return vlmp_jinja_fail(c, node, "a number that is too large");
    *out = vlmp_jinja_integer(result);
    return VLMP_OK;
}

int vlmp_jinja_arithmetic(vlmp_jinja_context *c, const vlmp_jinja_node *node, int op,
                          const vlmp_jinja_value *left, const vlmp_jinja_value *right,
                          vlmp_jinja_value *out)
{
    if (left->kind == VALUE_FLOAT || right->kind == VALUE_FLOAT || op == '/')
        return real_arithmetic(c, node, op, vlmp_jinja_real_of(left), vlmp_jinja_real_of(right),
                               out);
    int64_t a = vlmp_jinja_integer_of(left), b = vlmp_jinja_integer_of(right), result = 0;
    bool overflow = false;
    switch (op) {
    case '+':
        overflow = __builtin_add_overflow(a, b, &result);
        break;
    case '-':
        overflow = __builtin_sub_overflow(a, b, &result);
        break;
    case '*':
        overflow = __builtin_mul_overflow(a, b, &result);
        break;
    case OPERATOR2('*', '*'):
        return power(c, node, a, b, out);
    default:
        VLMP_TRY(divide(c, node, a, b, op == '%', &result));
        break;
    }
    if (overflow) return vlmp_jinja_fail(c, node, "a number that is too large");
    *out = vlmp_jinja_integer(result);
    return VLMP_OK;
}

/* As repr(): the fewest digits that read back, with an exponent below 1e-4 and from 1e16 on. */
int vlmp_jinja_float_text(vlmp_jinja_context *c, const vlmp_jinja_node *node, double real,
                          vlmp_jinja_text *out)
{
    char digits[40], *text = vlmp_jinja_allocate(c, node, 48, 1);
    if (text == NULL) return c->err->code;
    int count = 1;
    for (; count < 17; count++) {
        snprintf(digits, sizeof digits, "%.*e", count - 1, real);
        if (strtod(digits, NULL) == real) break;
    }
    snprintf(digits, sizeof digits, "%.*e", count - 1, real);
    int exponent = atoi(strchr(digits, 'e') + 1), length;
    if (exponent >= -4 && exponent < 16)
        length =
            snprintf(text, 48, "%.*f", count - 1 - exponent > 1 ? count - 1 - exponent : 1, real);
    else
        length = snprintf(text, 48, "%s", digits);
    *out = (vlmp_jinja_text){text, (size_t)length};
    return VLMP_OK;
}

/* The digits of a number that may have a sign, single underscores and white space around it, copied
 * without them; NULL: it is none or too long. */
static const char *plain_digits(vlmp_jinja_text text, char out[64])
{
    size_t length = 0;
    text = vlmp_jinja_strip(text, NULL, true, true);
    if (text.length == 0 || text.length > 60) return NULL;
    for (size_t i = 0; i < text.length; i++) {
        char before = i > 0 ? text.text[i - 1] : ' ',
             after = i + 1 < text.length ? text.text[i + 1] : ' ';
        if (text.text[i] != '_')
            out[length++] = text.text[i];
        else if (before < '0' || before > '9' || after < '0' || after > '9')
            return NULL;
    }
    out[length] = '\0';
    return out;
}

bool vlmp_jinja_read_integer(vlmp_jinja_text text, int64_t *out)
{
    char digits[64], *end;
    if (plain_digits(text, digits) == NULL) return false;
    const char *start = digits + (digits[0] == '-' || digits[0] == '+');
    size_t count = strspn(start, "0123456789");
    if (count == 0 || start[count] != '\0' || count > 18) return false;
    *out = strtoll(digits, &end, 10);
    return true;
}

bool vlmp_jinja_read_real(vlmp_jinja_text text, double *out)
{
    char digits[64], *end;
    if (plain_digits(text, digits) == NULL || strspn(digits, "0123456789+-.eE") != strlen(digits))
        return false;
    *out = strtod(digits, &end);
    return end != digits && *end == '\0' && isfinite(*out);
}
