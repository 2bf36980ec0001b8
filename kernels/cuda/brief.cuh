// A working type for elements stored as halves: float32 with cheaper quotients. A definition runs on it as it stands.
//
// Nearly all of a float32 division's instructions are for its last bit and for quotients far out, of which a half needs less. How much
// less, and for which operation, is tried: fastact/backends/halves.py.

enum Form { EXACT, QUOTIENT, CORRECTED, GUARDED };

// Within an ULP; what is subnormal counts as 0.
FASTACT_FUNCTION float reciprocal_guess(float x) {
#ifdef FASTACT_HOST
    return ::approximate_reciprocal(x);
#else
    float r;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
    return r;
#endif
}

// a / b. QUOTIENT: within 2 ULP, and 0 where 1 / b is subnormal. CORRECTED: as IEEE rounds it, nearly always, but no number where a, b or the
// quotient is infinite. GUARDED: CORRECTED, and right there, too: the minimum of no number and the largest is that, which adds nothing to q.
template <int form> FASTACT_FUNCTION float quotient(float a, float b) {
    const float r = reciprocal_guess(b), q = a * r;
    if constexpr (form == QUOTIENT) return q;
    const float rest = fma(b, q, -a);  // +0 where a is -0: taking it away leaves the -0
    return fma(-(form == GUARDED ? ::fminf(rest, 3.402823466e38f) : rest), r, q);
}

#define FASTACT_MEMBER __device__ __forceinline__
template <int form> struct Brief;

// The bits of one.
template <int form> struct BriefBits {
    int i;
    BriefBits() = default;
    FASTACT_MEMBER BriefBits(long long value) : i(static_cast<int>(value)) {}
    friend FASTACT_MEMBER BriefBits operator+(BriefBits a, BriefBits b) { return static_cast<int>(word(a) + word(b)); }
    friend FASTACT_MEMBER BriefBits operator-(BriefBits a, BriefBits b) { return static_cast<int>(word(a) - word(b)); }
    friend FASTACT_MEMBER BriefBits operator&(BriefBits a, BriefBits b) { return a.i & b.i; }
    friend FASTACT_MEMBER bool operator==(BriefBits a, BriefBits b) { return a.i == b.i; }
    friend FASTACT_MEMBER BriefBits shift_left(BriefBits a, int n) { return static_cast<int>(word(a) << n); }
    friend FASTACT_MEMBER BriefBits shift_right(BriefBits a, int n) { return static_cast<int>(word(a) >> n); }
    friend FASTACT_MEMBER Brief<form> from_bits(BriefBits a) { return float_of(word(a)); }

private:
    static FASTACT_MEMBER unsigned word(BriefBits a) { return static_cast<unsigned>(a.i); }
};

template <int form> struct Brief {
    float v;
    Brief() = default;
    FASTACT_MEMBER Brief(float x) : v(x) {}
    friend FASTACT_MEMBER Brief operator+(Brief a, Brief b) { return a.v + b.v; }
    friend FASTACT_MEMBER Brief operator-(Brief a, Brief b) { return a.v - b.v; }
    friend FASTACT_MEMBER Brief operator*(Brief a, Brief b) { return a.v * b.v; }
    friend FASTACT_MEMBER Brief operator/(Brief a, Brief b) { return quotient<form>(a.v, b.v); }
    friend FASTACT_MEMBER Brief operator-(Brief a) { return -a.v; }
    friend FASTACT_MEMBER bool operator<(Brief a, Brief b) { return a.v < b.v; }
    friend FASTACT_MEMBER bool operator>(Brief a, Brief b) { return a.v > b.v; }
    friend FASTACT_MEMBER bool operator<=(Brief a, Brief b) { return a.v <= b.v; }
    friend FASTACT_MEMBER bool operator>=(Brief a, Brief b) { return a.v >= b.v; }
    friend FASTACT_MEMBER bool operator==(Brief a, Brief b) { return a.v == b.v; }
    friend FASTACT_MEMBER bool operator!=(Brief a, Brief b) { return a.v != b.v; }
    friend FASTACT_MEMBER Brief select(bool mask, Brief a, Brief b) { return mask ? a : b; }
    friend FASTACT_MEMBER Brief pymin(Brief a, Brief b) { return b.v < a.v ? b : a; }
    friend FASTACT_MEMBER Brief pymax(Brief a, Brief b) { return b.v > a.v ? b : a; }
    friend FASTACT_MEMBER Brief fma(Brief a, Brief b, Brief c) { return fastact::fma(a.v, b.v, c.v); }
    friend FASTACT_MEMBER Brief fabs(Brief x) { return fastact::fabs(x.v); }
    friend FASTACT_MEMBER Brief copysign(Brief magnitude, Brief sign) { return fastact::copysign(magnitude.v, sign.v); }
    friend FASTACT_MEMBER Brief fsqrt(Brief x) { return fastact::fsqrt(x.v); }
    friend FASTACT_MEMBER BriefBits<form> bits(Brief x) { return fastact::bits(x.v); }
};
template <int form> inline constexpr bool is_brief<Brief<form>> = true;
template <int form> struct WholeOf<Brief<form>> { using type = BriefBits<form>; };

// An operation that computes with them.
template <class Op, int form> struct Briefly : Op {
    static constexpr bool wide = false;
    static FASTACT_MEMBER void run(const float *in, float *out) {
        Brief<form> argument[Op::inputs], result[Op::outputs];
#pragma unroll
        for (int k = 0; k < Op::inputs; k++) argument[k] = in[k];
        Op::run(argument, result);
#pragma unroll
        for (int k = 0; k < Op::outputs; k++) out[k] = result[k].v;
    }
};
