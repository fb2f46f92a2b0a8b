package cosdd;

import java.util.Arrays;
import java.util.Locale;

/** How far a result lies from what was expected, and how many values are beyond the zoo's bound. */
record Comparison(double largest, int beyond, int of) {

    private static final double ABSOLUTE = 1.5e-4;
    private static final double RELATIVE = 1e-4;

    static Comparison of(Tensor found, Tensor expected) {
        if (!Arrays.equals(found.shape(), expected.shape())) {
            throw new IllegalArgumentException("The result has the shape " + Arrays.toString(found.shape())
                    + " instead of " + Arrays.toString(expected.shape()) + ".");
        }
        double largest = 0;
        int beyond = 0;
        for (int i = 0; i < found.values().length; i++) {
            double apart = Math.abs((double) found.values()[i] - expected.values()[i]);
            largest = Double.isNaN(apart) ? apart : Math.max(largest, apart); // Math.max keeps a NaN
            if (!(apart <= ABSOLUTE + RELATIVE * Math.abs(expected.values()[i]))) { // a NaN is beyond
                beyond++;
            }
        }
        return new Comparison(largest, beyond, found.values().length);
    }

    boolean within() {
        return beyond == 0;
    }

    @Override
    public String toString() {
        String beyondIn = String.format(Locale.ROOT, "BEYOND the bound in %.3g %%", 100.0 * beyond / of);
        return String.format(Locale.ROOT, "%.2g %s", largest, within() ? "ok" : beyondIn);
    }
}
