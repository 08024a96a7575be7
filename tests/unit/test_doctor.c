/* tools: what vlm-doctor makes of what the system says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "tools/doctor.h"

static void quota_of_a_control_group(void **state)
{
    (void)state;
    assert_true(vlmp_cpu_quota("200000 100000") == 2);
    assert_true(vlmp_cpu_quota("50000 100000") == 0.5);
    assert_true(vlmp_cpu_quota("max 100000") == 0);
    assert_true(vlmp_cpu_quota("-1 100000") == 0);
    assert_true(vlmp_cpu_quota("100000 0") == 0);
    assert_true(vlmp_cpu_quota("") == 0);
}

/* What is bad stays bad, whatever is noted later. */
static void findings_get_worse_only(void **state)
{
    (void)state;
    vlmp_findings findings = {0};
    vlmp_finding *f = vlmp_findings_add(&findings, "memory");
    assert_true(findings.count == 1 && f->state == VLMP_FINDING_GOOD && f->advice[0] == '\0');
    vlmp_finding_advise(f, VLMP_FINDING_BAD, "buy %d GB", 8);
    vlmp_finding_advise(f, VLMP_FINDING_NOTE, "or more");
    assert_true(f->state == VLMP_FINDING_BAD);
    assert_string_equal(f->advice, "buy 8 GB; or more");
    for (int i = 0; i < 60; i++)
        vlmp_finding_advise(f, VLMP_FINDING_NOTE, "or much more");
    assert_true(strlen(f->advice) == sizeof f->advice - 1);
    vlmp_finding_value_of(f, "bytes", 8e9);
    assert_true(f->value_count == 1 && f->values[0].value == 8e9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quota_of_a_control_group),
        cmocka_unit_test(findings_get_worse_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
