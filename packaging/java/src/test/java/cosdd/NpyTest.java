package cosdd;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

class NpyTest {

    /** numpy.save of numpy.array([[1, -2.5]], "float32"), written out by hand. */
    private static byte[] asNumpyWrites(String header) {
        byte[] file = new byte[128 + 8];
        byte[] text = ("\u0093NUMPY\u0001\u0000v\u0000" + header).getBytes(StandardCharsets.ISO_8859_1);
        Arrays.fill(file, 0, 128, (byte) ' ');
        System.arraycopy(text, 0, file, 0, text.length);
        file[127] = '\n';
        byte[] values = {0, 0, (byte) 0x80, 0x3f, 0, 0, 0x20, (byte) 0xc0};
        System.arraycopy(values, 0, file, 128, 8);
        return file;
    }

    @Test
    void readsWhatNumpyWrites() {
        Tensor read = Npy.read(asNumpyWrites("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }"));
        assertArrayEquals(new int[] {1, 2}, read.shape());
        assertArrayEquals(new float[] {1, -2.5f}, read.values());
    }

    @Test
    void readsWhatItWrites() {
        Tensor tensor = new Tensor(new int[] {2, 1, 3}, new float[] {0, 1, 2, 3, 4, -1e-30f});
        byte[] file = Npy.write(tensor);
        assertEquals(128 + 24, file.length);
        assertArrayEquals(tensor.shape(), Npy.read(file).shape());
        assertArrayEquals(tensor.values(), Npy.read(file).values());
    }

    @Test
    void refusesOtherFilesTypesOrdersAndLengths() {
        byte[] text = "no file of numpy".getBytes(StandardCharsets.UTF_8);
        assertThrows(IllegalArgumentException.class, () -> Npy.read(text));
        for (String header : new String[] {
            "{'descr': '<f8', 'fortran_order': False, 'shape': (1, ), }",
            "{'descr': '<f4', 'fortran_order': True, 'shape': (1, 2), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3, ), }",
        }) {
            assertThrows(IllegalArgumentException.class, () -> Npy.read(asNumpyWrites(header)));
        }
    }
}
