/* A summary as text: what is written is read back, what is broken is refused, what is signed cannot be changed. */
#include "tests/unit/fleet/group.h"

#include "agent/fleet/summary.h"

static struct summary full(void)
{
    struct summary summary = group_failing("chat-1", 17, "server_hung", 1764226225500);

    summary.word = FLEET_DEGRADED;
    summary.since_ms = 4000;
    summary.stand = FLEET_STAND_HELD;
    summary.min = (struct fleet_min){ .count = 50, .percent = true };
    summary.fault_for_ms = 3500;
    summary.have_connections = true;
    summary.connections = 120;
    summary.taken = (uint16_t)(fleet_kind_bit("handshake") | fleet_kind_bit("ping"));
    summary.refused = (uint16_t)fleet_kind_bit("echo");
    summary.beats = (struct summary_beats){
        .count = 12, .window_ms = 21000, .channels = 0x5b0c91e4, .all = true, .shards = { 0x0e21aa07, 2 }, .shard_count = 2
    };
    snprintf(summary.release, sizeof summary.release, "1.5~rc.1");
    summary.public_path = FLEET_PUBLIC_PASS;
    summary.public_age_ms = 1200;
    summary.row_count = 2;
    summary.row[0] = (struct summary_source){ .who = 0x1f0a77c2, .got = 12, .late_ms = 5, .gap_ms = -3 };
    summary.row[1] = (struct summary_source){ .who = 1, .lost = 65535, .late_ms = SUMMARY_UNKNOWN, .gap_ms = SUMMARY_UNKNOWN };
    return summary;
}

static const char full_text[] =
    "wshf1 id=chat-1 region=eu-west group=chat version=0.3.0 role=server run=1764226225000.00000007 seq=17 sent=1764226229000 "
    "every=5000 word=degraded since=4000 stand=held min=50% fault=1764226225500 for=3500 cause=server_hung scope=local conns=120 "
    "taken=handshake,ping refused=echo release=1.5~rc.1 public=pass:1200 beats=12:21000:5b0c91e4:1 shards=0e21aa07,00000002 "
    "row=1f0a77c2:12:0:5:-3,00000001:0:65535::";

static enum fleet_refusal read_text(const char *text, const char *key, struct summary *out)
{
    return summary_read(slice_str(text), slice_str(key), out);
}

static void assert_same(const struct summary *a, const struct summary *b)
{
    struct buf left = BUF_INIT(SUMMARY_WIRE_MAX), right = BUF_INIT(SUMMARY_WIRE_MAX);

    summary_write(a, NO_KEY, &left);
    summary_write(b, NO_KEY, &right);
    assert_string_equal(buf_str(&left), buf_str(&right));
    buf_fini(&left);
    buf_fini(&right);
}

static void test_it_is_written_as_documented_and_read_back(void **state)
{
    struct summary summary = full(), again;
    struct buf line = BUF_INIT(SUMMARY_WIRE_MAX);

    (void)state;
    assert_int_equal(summary_write(&summary, NO_KEY, &line), 0);
    assert_string_equal(buf_str(&line), full_text);
    assert_int_equal(read_text(full_text, "", &again), FLEET_REFUSED_NONE);
    assert_same(&summary, &again);
    assert_true(again.min.percent);
    assert_string_equal(again.release, "1.5~rc.1");
    assert_int_equal(again.public_path, FLEET_PUBLIC_PASS);
    assert_int_equal(again.row[0].gap_ms, -3);
    assert_int_equal(again.row[1].gap_ms, SUMMARY_UNKNOWN);
    buf_fini(&line);
}

/* One word of a good line is another: is the line refused? */
static void replace(const char *from, const char *to, enum fleet_refusal want)
{
    const char *at = strstr(full_text, from);
    char text[4 * SUMMARY_WIRE_MAX];
    struct summary out;

    assert_non_null(at);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - full_text), full_text, to, at + strlen(from));
    if (read_text(text, "", &out) != want)
        fail_msg("%s instead of %s: %s", to, from, fleet_refusal_name(read_text(text, "", &out)));
}

static void test_what_is_broken_is_refused(void **state)
{
    static const char *const rows[][2] = {
        { "wshf1", "wshf2" },
        { "wshf1 ", "wshf1" },
        { "id=chat-1 ", "" },
        { "id=chat-1", "id=" },
        { "id=chat-1", "id=a.b" },
        { "id=chat-1", "id=a id=b" },
        { "id=chat-1", "id" },
        { "id=chat-1", "=chat-1" },
        { "id=chat-1", "id=\x01" },
        { "role=server", "role=boss" },
        { "run=1764226225000.00000007", "run=1764226225000" },
        { "run=1764226225000.00000007", "run=1764226225000.0000000G" },
        { "seq=17", "seq=0" },
        { "seq=17", "seq=017" },
        { "seq=17", "seq=-1" },
        { "seq=17", "seq=1234567890123456789" },
        { "every=5000", "every=99" },
        { "every=5000", "every=3600001" },
        { "word=degraded", "word=fine" },
        { "word=degraded", "word=not_ready" },
        { "word=degraded", "word=draining" },
        { "stand=held", "stand=out" },
        { "stand=held", "stand=mine" },
        { "min=50%", "min=101%" },
        { "min=50%", "min=%" },
        { "fault=1764226225500 ", "" },
        { " for=3500", "" },
        { "fault=1764226225500 for=3500 ", "" },
        { " scope=local", "" },
        { "scope=local", "scope=mine" },
        { "cause=server_hung ", "" },
        { "conns=120", "conns=4294967296" },
        { "taken=handshake,ping", "taken=handshake,,ping" },
        { "taken=handshake,ping", "taken=" },
        { "release=1.5~rc.1", "release=" },
        { "release=1.5~rc.1", "release=1/5" },
        { "public=pass:1200", "public=pass" },
        { "public=pass:1200", "public=well:1200" },
        { "public=pass:1200", "public=pass:" },
        { "public=pass:1200", "public=fail:-1" },
        { ":12:0:5:-3", ":12:0:5" },
        { ":12:0:5:-3", ":12:0:5:-3:1" },
        { ":12:0:5:-3", ":65536:0:5:-3" },
        { ":12:0:5:-3", ":12:0:5:-0" },
        { ":12:0:5:-3", ":12:0:5:2147483648" },
        { "1f0a77c2", "1F0A77C2" },
        { "beats=12:21000:5b0c91e4:1", "beats=12:21000:5b0c91e4" },
        { "beats=12:21000:5b0c91e4:1", "beats=12:21000:5b0c91e4:2" },
        { "beats=12:21000:5b0c91e4:1", "beats=12:21000:5b0c91e4:1:1" },
        { "beats=12:21000:5b0c91e4:1", "beats=12:0:5b0c91e4:1" },
        { "beats=12:21000:5b0c91e4:1 ", "" },
        { "shards=0e21aa07", "shards=0e21aa07,,0e21aa07" },
        { "shards=0e21aa07", "shards=1,0e21aa07" },
        { "shards=0e21aa07", "shards=00000001,00000001,00000001,00000001,00000001,00000001,00000001,0e21aa07" },
        { " every=", "  every=" },
        { " every=", "\tevery=" },
        { " every=", " more= x every=" },
        { "00000001:0:65535::", "00000001:0:65535::," },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        replace(rows[i][0], rows[i][1], FLEET_REFUSED_GARBAGE);
}

static void test_a_later_version_may_say_more(void **state)
{
    (void)state;
    replace(" every=", " later=some:thing,new every=", FLEET_REFUSED_NONE);
    replace("taken=handshake,ping", "taken=handshake,telepathy", FLEET_REFUSED_NONE);
    replace("every=5000", "empty= every=5000", FLEET_REFUSED_NONE);
}

static void test_it_is_bounded(void **state)
{
    struct summary summary = full(), out;
    struct buf line = BUF_INIT(SUMMARY_WIRE_MAX);
    char text[SUMMARY_WIRE_MAX + 2];

    (void)state;
    memset(summary.id, 'i', SUMMARY_WORD_MAX);
    memset(summary.region, 'r', SUMMARY_WORD_MAX);
    memset(summary.group, 'g', SUMMARY_WORD_MAX);
    memset(summary.version, '9', SUMMARY_VERSION_MAX);
    memset(summary.release, '1', SUMMARY_VERSION_MAX);
    memset(summary.cause, 'c', SUMMARY_CAUSE_MAX);
    summary.public_age_ms = UINT64_C(999999999999999999);
    summary.run_ms = summary.seq = summary.since_ms = summary.fault_for_ms = UINT64_C(999999999999999999);
    summary.sent_ms = summary.fault_key_ms = INT64_C(999999999999999999);
    summary.connections = UINT32_MAX;
    summary.taken = summary.refused = (1u << FLEET_KIND_COUNT) - 1;
    summary.row_count = 0;
    assert_int_equal(summary_write(&summary, NO_KEY, &line), 0);
    assert_true(line.len <= SUMMARY_MAX);
    for (summary.row_count = 0; summary.row_count < SUMMARY_ROW_MAX; summary.row_count++)
        summary.row[summary.row_count] = (struct summary_source){
            .who = UINT32_MAX, .got = UINT16_MAX, .lost = UINT16_MAX, .late_ms = -INT32_MAX, .gap_ms = -INT32_MAX
        };
    buf_reset(&line);
    assert_int_equal(summary_write(&summary, slice_str("key"), &line), 0);
    assert_int_equal(summary_read(buf_slice(&line), slice_str("key"), &out), FLEET_REFUSED_NONE);
    assert_int_equal(out.row_count, SUMMARY_ROW_MAX);
    buf_fini(&line);
    memset(text, 'x', sizeof text);
    assert_int_equal(summary_read(slice_make(text, sizeof text - 1), NO_KEY, &out), FLEET_REFUSED_TOO_LONG);
    assert_int_equal(summary_read(slice_make(text, 0), NO_KEY, &out), FLEET_REFUSED_GARBAGE);
    line = BUF_INIT(100);
    assert_int_equal(summary_write(&summary, NO_KEY, &line), -1);
    buf_fini(&line);
}

static void test_a_signature_covers_every_byte(void **state)
{
    struct summary summary = full(), out;
    struct buf line = BUF_INIT(SUMMARY_WIRE_MAX);

    (void)state;
    assert_int_equal(read_text(full_text, "secret", &out), FLEET_REFUSED_UNSIGNED);
    assert_int_equal(summary_write(&summary, slice_str("secret"), &line), 0);
    assert_int_equal(summary_read(buf_slice(&line), slice_str("secret"), &out), FLEET_REFUSED_NONE);
    assert_same(&summary, &out);
    assert_int_equal(summary_read(buf_slice(&line), slice_str("Secret"), &out), FLEET_REFUSED_BAD_SIGNATURE);
    assert_int_equal(summary_read(buf_slice(&line), NO_KEY, &out), FLEET_REFUSED_NONE); /* who has no key asks for none */
    assert_same(&summary, &out);
    for (size_t i = 0; i < line.len; i++) {
        line.data[i] ^= 1;
        assert_int_not_equal(summary_read(buf_slice(&line), slice_str("secret"), &out), FLEET_REFUSED_NONE);
        line.data[i] ^= 1;
    }
    for (size_t len = 0; len < line.len; len++)
        assert_int_not_equal(summary_read(slice_make(line.data, len), slice_str("secret"), &out), FLEET_REFUSED_NONE);
    buf_fini(&line);
}

static void test_names(void **state)
{
    (void)state;
    assert_int_equal(fleet_kind_bit("handshake"), 1);
    assert_int_equal(fleet_kind_bit("broker"), 0);
    assert_true(FLEET_KIND_COUNT <= 16);
    assert_string_equal(fleet_refusal_name(FLEET_REFUSED_OLD), "old");
    assert_true(strlen(fleet_refusal_help(FLEET_REFUSED_FULL)) > 0);
    assert_int_equal(fleet_hash("a"), 0xe40c292cu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_is_written_as_documented_and_read_back),
        cmocka_unit_test(test_what_is_broken_is_refused),
        cmocka_unit_test(test_a_later_version_may_say_more),
        cmocka_unit_test(test_it_is_bounded),
        cmocka_unit_test(test_a_signature_covers_every_byte),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
