package cosdd;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** NumPy's file format, of little-endian float32 in C order, which is what packages hold. */
final class Npy {

    private static final String MAGIC = "\u0093NUMPY";
    private static final Pattern SHAPE = Pattern.compile("'shape':\\s*\\(([^)]*)\\)");

    private Npy() {}

    static Tensor read(byte[] file) {
        ByteBuffer bytes = ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN);
        if (file.length < 12 || !text(bytes, MAGIC.length()).equals(MAGIC)) {
            throw new IllegalArgumentException("This is no .npy file.");
        }
        byte major = bytes.get();
        bytes.get(); // the minor version changes nothing
        String header = text(bytes, major == 1 ? Short.toUnsignedInt(bytes.getShort()) : bytes.getInt());
        int[] shape = shape(header);
        if (!header.contains("'<f4'") || !header.contains("'fortran_order': False")) {
            throw new IllegalArgumentException("This .npy file is not float32 in C order: " + header.strip());
        }
        if (bytes.remaining() != 4L * Tensor.count(shape)) {
            throw new IllegalArgumentException(
                    "This .npy file has " + bytes.remaining() + " bytes of data for " + Arrays.toString(shape) + ".");
        }
        float[] values = new float[Tensor.count(shape)];
        bytes.asFloatBuffer().get(values);
        return new Tensor(shape, values);
    }

    static byte[] write(Tensor tensor) {
        String shape = IntStream.of(tensor.shape()).mapToObj(n -> n + ",").collect(Collectors.joining(" "));
        String header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + shape + "), }";
        int start = MAGIC.length() + 4;
        int length = (start + header.length() + 1 + 63) / 64 * 64 - start; // the data begins at a multiple of 64
        ByteBuffer bytes = ByteBuffer.allocate(start + length + 4 * tensor.values().length);
        bytes.order(ByteOrder.LITTLE_ENDIAN).put(MAGIC.getBytes(StandardCharsets.ISO_8859_1));
        bytes.put((byte) 1).put((byte) 0).putShort((short) length);
        bytes.put((header + " ".repeat(length - header.length() - 1) + "\n").getBytes(StandardCharsets.ISO_8859_1));
        bytes.asFloatBuffer().put(tensor.values());
        return bytes.array();
    }

    private static String text(ByteBuffer bytes, int length) {
        byte[] read = new byte[length];
        bytes.get(read);
        return new String(read, StandardCharsets.ISO_8859_1);
    }

    private static int[] shape(String header) {
        Matcher found = SHAPE.matcher(header);
        if (!found.find()) {
            throw new IllegalArgumentException("This .npy file states no shape: " + header.strip());
        }
        return Arrays.stream(found.group(1).split(","))
                .map(String::strip)
                .filter(number -> !number.isEmpty())
                .mapToInt(Integer::parseInt)
                .toArray();
    }
}
