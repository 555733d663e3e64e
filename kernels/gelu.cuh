// Activations and their derivatives, in float32:
//
//   identity   h = u                                    dh = 1
//   relu       h = max(u, 0)                            dh = 1 where u > 0, else 0
//   silu       h = u s,      s = 1/(1 + exp(-u))        dh = s + h (1 - s)
//   gelu_tanh  h = u s,      s = 1/(1 + exp(-2 v))      dh = s + h (1 - s) 2 dv/du
//                            v = sqrt(2/pi) (u + 0.044715 u^3)
//   gelu       h = u Phi(u), Phi the normal cdf         dh = Phi(u) + u phi(u)
//
// (Hendrycks and Gimpel 2016, arXiv:1606.08415; 0.5 (1 + tanh v) is the sigmoid of 2 v, which keeps
// its relative accuracy for negative u.) Each is a type with value(u) and slope(u), so that a
// kernel takes it as a template parameter. At -inf all but identity have the value 0; NaN stays
// NaN. Quotients are __fdividef's, good to 2 ulp where the divisor is below 2^126, as all are here:
// a third of the instructions of an exact one, and no branch.
//
// Results of 16 bits need less: `rounded` gives value and slope from one exponential, to 2^-18 and
// without the far tails, which such a result cannot hold. It takes a fifth of the instructions, and
// at the end of a product that is what counts: there the tensor cores wait.
#pragma once
#include "common.cuh"

constexpr float LOG2E = 1.4426950408889634f;

// x between -limit and limit; NaN stays NaN.
DEVICE float within(float x, float limit) {
  const float below = x > limit ? limit : x;
  return below < -limit ? -limit : below;
}

struct identity {
  static DEVICE float value(float u) { return u; }
  static DEVICE float slope(float u) { return 1.0f; }
  static DEVICE float rounded(float u, float& slope) {
    slope = 1.0f;
    return u;
  }
};

struct relu {
  static DEVICE float value(float u) { return u < 0.0f ? 0.0f : u; }
  static DEVICE float slope(float u) { return u > 0.0f ? 1.0f : 0.0f; }
  static DEVICE float rounded(float u, float& slope) {
    slope = relu::slope(u);
    return value(u);
  }
};

// factor exp(x) for x below -80, in two steps: the product is a normal number for a while where
// exp(x) is none any more.
DEVICE float times_exp(float factor, float x) {
  if (x < -200.0f) return 0.0f;
  const float root = expf(0.5f * x);
  return factor * root * root;
}

struct silu {
  static DEVICE float value(float u) {
    return u < -80.0f ? times_exp(u, u) : __fdividef(u, 1.0f + expf(-u));
  }

  static DEVICE float slope(float u) {
    if (u < -80.0f) return times_exp(1.0f + u, u);
    if (u > 80.0f) return 1.0f;
    const float e = expf(-u), s = __fdividef(1.0f, 1.0f + e);
    return s + u * s * (e * s);
  }

  static DEVICE float rounded(float u, float& slope) {
    const float x = within(u, 80.0f), s = __fdividef(1.0f, 1.0f + fast_exp2(-LOG2E * x));
    slope = s + x * s * (1.0f - s);
    return (u < x ? x : u) * s;
  }
};

struct gelu_tanh {
  static constexpr float LINEAR = 1.5957691216057308f;  // 2 sqrt(2/pi)
  static constexpr float CUBIC = 0.07135481282572577f;  // 0.044715 times that

  static DEVICE float value(float u) {
    const float x = u * (LINEAR + CUBIC * u * u);  // 2 v
    return x < -80.0f ? times_exp(u, x) : __fdividef(u, 1.0f + expf(-x));
  }

  static DEVICE float slope(float u) {
    const float square = u * u, x = u * (LINEAR + CUBIC * square);
    const float inner = LINEAR + 3.0f * CUBIC * square;  // 2 dv/du
    if (x < -80.0f) return times_exp(1.0f + u * inner, x);
    if (x > 80.0f) return 1.0f;
    const float e = expf(-x), s = __fdividef(1.0f, 1.0f + e);
    return s + u * s * (e * s) * inner;
  }

  static DEVICE float rounded(float u, float& slope) {
    const float x = within(u, 10.0f), square = x * x;
    const float e = fast_exp2(x * (-LOG2E * LINEAR - LOG2E * CUBIC * square));
    const float s = __fdividef(1.0f, 1.0f + e);
    slope = s + x * s * (1.0f - s) * (LINEAR + 3.0f * CUBIC * square);
    return (u < x ? x : u) * s;
  }
};

struct gelu {
  // Phi(-a) exp(a^2 / 2) for 0 <= a <= 14, to 7e-9: the quotient of polynomials that the CPU has.
  // Every coefficient is positive, so nothing cancels.
  static DEVICE float mills(float a) {
    float n = 0.004040424259253225f;
    n = n * a + 0.04014623724638465f;
    n = n * a + 0.18182845967471523f;
    n = n * a + 0.4364557850998665f;
    n = n * a + 0.5000000018658018f;
    float d = 0.010127711632123405f;
    d = d * a + 0.10063858638365455f;
    d = d * a + 0.4657462394607835f;
    d = d * a + 1.1967559294579577f;
    d = d * a + 1.670796427211471f;
    d = d * a + 1.0f;
    return __fdividef(n, d);
  }

  static DEVICE float value(float u) {
    if (u < -14.0f) return 0.0f;
    if (u > 14.0f) return u;
    const float tail = mills(fabsf(u)) * expf(-0.5f * u * u);  // Phi(-|u|)
    return u * (u > 0.0f ? 1.0f - tail : tail);
  }

  static DEVICE float slope(float u) {
    if (u < -14.0f) return 0.0f;
    if (u > 14.0f) return 1.0f;
    const float bell = expf(-0.5f * u * u);
    const float tail = mills(fabsf(u)) * bell;
    return (u > 0.0f ? 1.0f - tail : tail) + u * bell * 0.3989422804014327f;  // 1 / sqrt(2 pi)
  }

  static DEVICE float rounded(float u, float& slope) {
    const float x = within(u, 13.0f), bell = fast_exp2(-0.5f * LOG2E * x * x);
    const float tail = mills(fabsf(x)) * bell;
    const float phi = x > 0.0f ? 1.0f - tail : tail;
    slope = phi + x * bell * 0.3989422804014327f;
    return (u < x ? x : u) * phi;
  }
};

// f(u) and f'(u) for results of type T.
template <typename F, typename T> DEVICE float value_and_slope(float u, float& slope) {
  if (sizeof(T) == 2) return F::rounded(u, slope);
  slope = F::slope(u);
  return F::value(u);
}
