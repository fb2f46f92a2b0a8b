package cosdd;

import java.util.Arrays;

/** A float32 array in C order. */
record Tensor(int[] shape, float[] values) {

    Tensor {
        if (values.length != count(shape)) {
            throw new IllegalArgumentException(values.length + " values do not fill " + Arrays.toString(shape));
        }
    }

    static Tensor zeros(int[] shape) {
        return new Tensor(shape.clone(), new float[count(shape)]);
    }

    static int count(int[] shape) {
        return Math.toIntExact(Arrays.stream(shape).asLongStream().reduce(1, Math::multiplyExact));
    }

    /** The multi-index of a place in C order. */
    static int[] index(int place, int[] shape) {
        int[] index = new int[shape.length];
        for (int axis = shape.length - 1; axis >= 0; axis--) {
            index[axis] = place % shape[axis];
            place /= shape[axis];
        }
        return index;
    }

    float get(int[] index) {
        return values[place(index)];
    }

    void set(int[] index, float value) {
        values[place(index)] = value;
    }

    /** scale * x + offset, in every place. */
    Tensor affine(double scale, double offset) {
        float[] changed = new float[values.length];
        for (int i = 0; i < changed.length; i++) {
            changed[i] = (float) (scale * values[i] + offset);
        }
        return new Tensor(shape, changed);
    }

    private int place(int[] index) {
        int place = 0;
        for (int axis = 0; axis < shape.length; axis++) {
            place = place * shape[axis] + index[axis];
        }
        return place;
    }
}
