/* CRC-32 as zlib computes it, folding 64 bytes at a time where the processor multiplies without carries.
 *
 * The method is that of Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ
 * Instruction" (Intel, 2009): the message is folded to 16 bytes that have the same remainder, and those are
 * reduced by tables, as are messages too short to fold and all of them on other processors.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static uint32_t checksum_tables[8][256];
static int checksum_folds = 0;

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define CHECKSUM_X86 1
#include <emmintrin.h>
#include <wmmintrin.h>
#endif

static void checksum_prepare(void) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t value = byte;
        for (int bit = 0; bit < 8; bit++) value = value >> 1 ^ (value & 1 ? 0xEDB88320u : 0);
        checksum_tables[0][byte] = value;
    }
    for (int table = 1; table < 8; table++)
        for (int byte = 0; byte < 256; byte++) {
            uint32_t value = checksum_tables[table - 1][byte];
            checksum_tables[table][byte] = value >> 8 ^ checksum_tables[0][value & 0xFF];
        }
#ifdef CHECKSUM_X86
    __builtin_cpu_init();
    checksum_folds = __builtin_cpu_supports("pclmul") != 0;
#endif
}

static uint32_t checksum_by_tables(uint32_t state, const unsigned char *data, size_t size) {
    uint32_t(*table)[256] = checksum_tables;
    while (size >= 8) {
        uint32_t low = state ^ ((uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 |
                                (uint32_t)data[3] << 24);
        state = table[7][low & 0xFF] ^ table[6][low >> 8 & 0xFF] ^ table[5][low >> 16 & 0xFF] ^ table[4][low >> 24] ^
                table[3][data[4]] ^ table[2][data[5]] ^ table[1][data[6]] ^ table[0][data[7]];
        data += 8;
        size -= 8;
    }
    while (size--) state = state >> 8 ^ table[0][(state ^ *data++) & 0xFF];
    return state;
}

#ifdef CHECKSUM_X86
__attribute__((target("pclmul,sse2"))) static inline __m128i checksum_fold(__m128i value, __m128i by, __m128i next) {
    return _mm_xor_si128(next, _mm_xor_si128(_mm_clmulepi64_si128(value, by, 0x00),
                                             _mm_clmulepi64_si128(value, by, 0x11)));
}

/* For at least 64 bytes. */
__attribute__((target("pclmul,sse2"))) static uint32_t checksum_by_folding(uint32_t state, const unsigned char *data,
                                                                           size_t size) {
    /* Powers of x modulo the polynomial, bits reflected: over 64 bytes, over 16 bytes. */
    const __m128i over_64 = _mm_set_epi64x(0x1c6e41596, 0x154442bd4);
    const __m128i over_16 = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0);
    const __m128i *block = (const __m128i *)data;
    unsigned char rest[16];
    __m128i a = _mm_xor_si128(_mm_loadu_si128(block), _mm_cvtsi32_si128((int)state));
    __m128i b = _mm_loadu_si128(block + 1);
    __m128i c = _mm_loadu_si128(block + 2);
    __m128i d = _mm_loadu_si128(block + 3);
    block += 4;
    size -= 64;
    while (size >= 64) {
        a = checksum_fold(a, over_64, _mm_loadu_si128(block));
        b = checksum_fold(b, over_64, _mm_loadu_si128(block + 1));
        c = checksum_fold(c, over_64, _mm_loadu_si128(block + 2));
        d = checksum_fold(d, over_64, _mm_loadu_si128(block + 3));
        block += 4;
        size -= 64;
    }
    a = checksum_fold(a, over_16, b);
    a = checksum_fold(a, over_16, c);
    a = checksum_fold(a, over_16, d);
    while (size >= 16) {
        a = checksum_fold(a, over_16, _mm_loadu_si128(block++));
        size -= 16;
    }
    _mm_storeu_si128((__m128i *)rest, a);
    return checksum_by_tables(checksum_by_tables(0, rest, 16), (const unsigned char *)block, size);
}
#endif

static uint32_t checksum_crc32(uint32_t value, const unsigned char *data, size_t size) {
    uint32_t state = ~value;
#ifdef CHECKSUM_X86
    if (checksum_folds && size >= 64) return ~checksum_by_folding(state, data, size);
#endif
    return ~checksum_by_tables(state, data, size);
}
