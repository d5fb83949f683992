/* The books of `fleet gate`: answers of /fleet one after the other, whole, without names, cut, and no answers at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/cli/gate.h"

static struct gate gate;
static struct err err;
static struct buf said;

static void begin(const char *min, uint64_t for_ms)
{
    gate_fini(&gate);
    gate = (struct gate){ .group = "chat", .for_ms = for_ms };
    assert_int_equal(gate_parse_min(min, &gate), 0);
}

/* "1r 2n 3d": the members chat-1 … by their states' first letters; s silent, l left, w watcher, t twin. They are so for a minute; in capitals, as of now. */
static const char *answer(const char *members, const char *more)
{
    static char text[65536];
    size_t at = (size_t)snprintf(
        text, sizeof text, "{\"group\":\"chat\",\"linked\":true,\"every_ms\":400,\"regions\":[],\"member_count\":9,%s\"members\":[",
        more);

    for (const char *one = members; *one; one += one[2] ? 3 : 2) {
        char letter = (char)(one[1] | 0x20);
        const char *state = letter == 'n'   ? "not_ready"
                            : letter == 'd' ? "draining"
                            : letter == 's' ? "silent"
                            : letter == 'l' ? "left"
                                            : "ready";

        at += (size_t)snprintf(
            text + at, sizeof text - at,
            "%s{\"id\":\"chat-%c\",\"region\":\"eu\",\"state\":\"%s\",\"since_ms\":%d,\"cause\":%s,\"watcher\":%s,\"twin\":%s}",
            one == members ? "" : ",", one[0], state, one[1] == letter ? 60000 : 0, letter == 'n' ? "\"server_hung\"" : "null",
            letter == 'w' ? "true" : "false", letter == 't' ? "true" : "false");
    }
    snprintf(text + at, sizeof text - at, "]}");
    return text;
}

static enum gate_turn take(uint64_t now_ms, const char *members)
{
    return gate_take(&gate, slice_str(answer(members, "")), now_ms, &err);
}

static const char *say(uint64_t now_ms, bool ages)
{
    buf_fini(&said);
    buf_init(&said, 1 << 16);
    gate_say(&gate, ages, now_ms, &said);
    return buf_str(&said);
}

static void without_a_break(void **state)
{
    (void)state;
    begin("100%", 2000);
    assert_int_equal(take(1000, "1r 2r 3w 4l"), GATE_WAITS);
    assert_int_equal(take(2000, "1r 2r 3w 4l"), GATE_WAITS);
    assert_string_equal(say(2000, true), "2 of 2 instances of chat are ready; well for 1s of 2s");
    assert_int_equal(take(2500, "1r 2n"), GATE_WAITS);
    assert_string_equal(say(2500, true),
                        "1 of 2 instances of chat are ready: chat-2 (eu) is not ready: server_hung for 1m; want 100%");
    assert_non_null(gate_advice(&gate));
    assert_int_equal(take(3000, "1r 2r"), GATE_WAITS);
    gate_miss(&gate, "no agent answers");
    assert_string_equal(say(3500, false), "no agent answers");
    assert_int_equal(take(4000, "1r 2r"), GATE_WAITS);
    assert_int_equal(take(5000, "1r 2R"), GATE_WAITS); /* between two answers it was not */
    assert_int_equal(take(6000, "1r 2r"), GATE_WAITS);
    assert_int_equal(take(7000, "1r 2r"), GATE_PASSES);
    begin("100%", 0);
    assert_int_equal(take(1000, "1r"), GATE_WAITS); /* who else is there, it knows after `every` */
    assert_string_equal(say(1000, true), "1 of 1 instances of chat are ready; well for 0s of 600ms, in which each agent speaks");
    assert_int_equal(take(1600, "1r"), GATE_PASSES);
    begin("100%", 7500);
    (void)take(1000, "1r");
    assert_string_equal(say(2000, true), "1 of 1 instances of chat are ready; well for 1s of 7.5s");
}

static void how_many(void **state)
{
    (void)state;
    begin("50%", 0);
    (void)take(1000, "1r 2n 3d");
    assert_int_equal(gate.needed, 2);
    assert_int_equal(take(2000, "1r 2n 3d"), GATE_WAITS);
    begin("3", 0);
    (void)take(1000, "1r 2r");
    assert_int_equal(take(2000, "1r 2r"), GATE_WAITS);
    assert_string_equal(say(2000, true), "2 of 2 instances of chat are ready; want 3");
    (void)take(3000, "1r 2r 3r 4d");
    assert_int_equal(take(4000, "1r 2r 3r 4d"), GATE_PASSES);
    begin("100%", 0);
    (void)take(1000, "1r 2t");
    assert_string_equal(say(1000, true),
                        "1 of 2 instances of chat are ready: chat-2 (eu) has an id that two agents use for 1m; want 100%");
    (void)take(2000, "1r 2d 3d 4s 5n");
    assert_string_equal(say(2000, false),
                        "1 of 5 instances of chat are ready: chat-5 (eu) is not ready: server_hung; chat-4 (eu) is silent; "
                        "chat-2 (eu) is draining and 1 more; want 100%");
    static const char *const bad[] = { "", "%", "0", "0%", "101%", "-1", "1.5", "x", "10001", "99999999999", "50 %" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(gate_parse_min(bad[i], &gate), -1);
}

static void the_vanished(void **state)
{
    (void)state;
    begin("100%", 0);
    (void)take(1000, "1r 2r");
    assert_int_equal(take(2000, "1r"), GATE_WAITS);
    assert_string_equal(say(2000, true), "1 of 2 instances of chat are ready: chat-2 (eu) is gone without a word; want 100%");
    assert_int_equal(take(9000, "1r"), GATE_WAITS); /* for the rest of the gate */
    assert_int_equal(take(10000, "1r 2r"), GATE_WAITS);
    assert_int_equal(take(11000, "1r 2r"), GATE_PASSES);
    assert_int_equal(take(12000, "1r 2l"), GATE_PASSES); /* on purpose */
    assert_int_equal(take(13000, "1r"), GATE_PASSES);
}

static enum gate_turn take_counts(uint64_t now_ms, unsigned ready, unsigned silent, unsigned all)
{
    char more[512];

    snprintf(more, sizeof more,
             "\"left_out\":5,\"regions\":[{\"region\":\"eu\",\"ready\":%u,\"silent\":%u,\"watchers\":1}],\"member_count\":%u,",
             ready, silent, all);
    char text[1024];
    snprintf(text, sizeof text,
             "{\"group\":\"chat\",\"linked\":true,%s\"members\":[{\"id\":null,\"region\":\"eu\",\"state\":\"ready\",\"since_ms\":"
             "60000}]}",
             more);
    return gate_take(&gate, slice_str(text), now_ms, &err);
}

static void counts_of_regions(void **state)
{
    (void)state;
    begin("100%", 0);
    assert_int_equal(take_counts(1000, 1999, 1, 2001), GATE_WAITS);
    assert_string_equal(say(1000, true),
                        "1999 of 2000 instances of chat are ready; of 1 it is not known which they are; want 100%");
    assert_int_equal(take_counts(2000, 1999, 0, 2000), GATE_WAITS); /* forgotten */
    assert_int_equal(gate.of, 2000);
    assert_int_equal(take_counts(3000, 2000, 0, 2001), GATE_PASSES); /* need_ms is 0 here: back, and well */
    assert_int_equal(take_counts(4000, 1990, 0, 2001), GATE_PASSES); /* ten have left with a word */
    assert_int_equal(gate.of, 1990);
}

static void what_is_wrong_with_the_whole(void **state)
{
    (void)state;
    begin("1", 0);
    (void)gate_take(&gate, slice_str(answer("1r", "\"fleet_wide_fault\":true,\"wide_cause\":\"server_hung\",")), 1000, &err);
    assert_string_equal(say(1000, true),
                        "nearly all instances of chat have the same fault at once (fleet_wide_fault): server_hung");
    assert_non_null(gate_advice(&gate));
    static const char unlinked[] = "{\"group\":\"chat\",\"linked\":false,\"message\":\"the broker\\u001b[2J is "
                                   "away\",\"regions\":[],\"members\":[],\"member_count\":1}";
    assert_int_equal(gate_take(&gate, slice_str(unlinked), 9000, &err), GATE_WAITS);
    assert_string_equal(say(9000, true), "the agent is not linked to the others of chat: the broker\\x1b[2J is away");
    assert_int_equal(gate_take(&gate,
                               slice_str("{\"group\":\"shop\",\"linked\":true,\"regions\":[],\"members\":[],\"member_count\":1}"),
                               9000, &err),
                     GATE_WRONG);
    assert_string_equal(err.text, "the agent is of group 'shop', and --group wants 'chat'");
}

static void what_is_no_answer(void **state)
{
    static const char *const bad[] = { "",
                                       "{",
                                       "[]",
                                       "null",
                                       "7",
                                       "{}",
                                       "{\"group\":\"chat\"}",
                                       "{\"group\":7,\"linked\":true,\"regions\":[],\"members\":[],\"member_count\":1}",
                                       "{\"group\":\"chat\",\"linked\":true,\"regions\":{},\"members\":[],\"member_count\":1}",
                                       "{\"group\":\"chat\",\"linked\":true,\"regions\":[],\"members\":[],\"member_count\":1e99}",
                                       "\xff\xfe" };
    static const char odd[] =
        "{\"group\":\"chat\",\"linked\":true,\"regions\":[7,{\"ready\":-5},{\"silent\":9223372036854775807}],\"every_ms\":\"x\","
        "\"members\":[7,null,[],{},{\"id\":{},\"state\":[]},{\"id\":\"a\",\"state\":\"new\"},{\"id\":\"a\",\"since_ms\":-9}],"
        "\"member_count\":-1}";

    (void)state;
    begin("100%", 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(gate_take(&gate, slice_str(bad[i]), 1000, &err), GATE_WAITS);
        assert_string_equal(say(1000, true), "the answer is not that of /fleet");
        assert_false(gate.answered);
    }
    assert_int_equal(gate_take(&gate, slice_str(odd), 2000, &err), GATE_WAITS);
    struct buf many = BUF_INIT(1 << 20);
    buf_append_str(&many, "{\"group\":\"chat\",\"linked\":true,\"regions\":[],\"member_count\":1,\"members\":[0");
    for (int i = 0; i < GATE_MEMBERS_MAX; i++)
        buf_append_str(&many, ",0");
    buf_append_str(&many, "]}");
    assert_int_equal(gate_take(&gate, buf_slice(&many), 3000, &err), GATE_WAITS);
    assert_string_equal(say(3000, true), "the answer is not that of /fleet");
    buf_fini(&many);
}

static void more_names_than_are_kept(void **state)
{
    struct buf text = BUF_INIT(1 << 20);

    (void)state;
    begin("100%", 0);
    for (int round = 0; round < 6; round++) {
        buf_reset(&text);
        buf_append_str(&text, "{\"group\":\"chat\",\"linked\":true,\"regions\":[],\"member_count\":1000,\"members\":[");
        for (int i = 0; i < 1000; i++)
            buf_printf(&text, "%s{\"id\":\"%d-%d\",\"state\":\"ready\",\"since_ms\":60000}", i ? "," : "", round, i);
        buf_append_str(&text, "]}");
        assert_int_equal(gate_take(&gate, buf_slice(&text), 1000 * (uint64_t)(round + 1), &err), round ? GATE_WAITS : GATE_PASSES);
    }
    assert_int_equal(gate.seen_count, GATE_SEEN_MAX);
    buf_fini(&text);
}

static void the_object(void **state)
{
    struct buf out = BUF_INIT(1 << 16);

    (void)state;
    begin("100%", 0);
    (void)take(1000, "1r 2n");
    gate_json(&gate, false, 1500, 1000, &out);
    assert_non_null(
        strstr(buf_str(&out),
               "{\"passed\":false,\"group\":\"chat\",\"ready\":1,\"of\":2,\"needed\":2,\"waited_ms\":1500,\"sentence\":\"1 of 2 "));
    assert_non_null(strstr(buf_str(&out), "\"not_ready\":[{\"id\":\"chat-2\",\"region\":\"eu\",\"state\":\"not_ready\",\"cause\":"
                                          "\"server_hung\",\"for_ms\":60000}]}\n"));
    buf_fini(&out);
}

static int end(void **state)
{
    (void)state;
    gate_fini(&gate);
    buf_fini(&said);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_break),   cmocka_unit_test(how_many),
        cmocka_unit_test(the_vanished),      cmocka_unit_test(counts_of_regions),
        cmocka_unit_test(the_object),        cmocka_unit_test(what_is_wrong_with_the_whole),
        cmocka_unit_test(what_is_no_answer), cmocka_unit_test(more_names_than_are_kept),
    };

    return cmocka_run_group_tests(tests, NULL, end);
}
