// Separates without the library: the three graphs of an offline bundle in Microsoft.ML.OnnxRuntime.
//
//     PlainLoop BUNDLE MIX.f32 DEPTH      MIX.f32 has 32-bit floats at the bundle's sample rate; writes MIX.f32.est
//
// Every input is found by its name among the mixture, the stem's outputs and the current z.
using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

internal static class PlainLoop
{
    private static void Main(string[] arguments)
    {
        byte[] bytes = File.ReadAllBytes(arguments[1]);
        var mix = new float[bytes.Length / sizeof(float)];
        Buffer.BlockCopy(bytes, 0, mix, 0, bytes.Length);
        using (var network = new Network(arguments[0]))
        {
            float[] estimate = network.Separate(mix, int.Parse(arguments[2]));
            var result = new byte[estimate.Length * sizeof(float)];
            Buffer.BlockCopy(estimate, 0, result, 0, result.Length);
            File.WriteAllBytes(arguments[1] + ".est", result);
        }
    }

    private sealed class Network : IDisposable
    {
        private readonly InferenceSession stem, block, decoder;

        public Network(string folder)
        {
            // manifest.json names the files; these are the names that the export gives.
            stem = new InferenceSession(Path.Combine(folder, "stem.onnx"));
            block = new InferenceSession(Path.Combine(folder, "block.onnx"));
            decoder = new InferenceSession(Path.Combine(folder, "decoder.onnx"));
        }

        /// <summary>Returns (sources, samples), one source after the other.</summary>
        public float[] Separate(float[] mix, int depth)
        {
            var tensors = new Dictionary<string, DenseTensor<float>>
            {
                ["mix"] = new DenseTensor<float>(mix, new[] { 1, mix.Length })
            };
            foreach (KeyValuePair<string, DenseTensor<float>> output in Run(stem, tensors))
            {
                tensors[output.Key] = output.Value;
            }
            for (int repetition = 0; repetition < depth; repetition++)
            {
                tensors["z"] = Run(block, tensors)["z_next"];
            }
            return Run(decoder, tensors)["est"].ToArray();
        }

        private static Dictionary<string, DenseTensor<float>> Run(
            InferenceSession session, Dictionary<string, DenseTensor<float>> tensors)
        {
            List<NamedOnnxValue> inputs = session.InputMetadata.Keys
                .Select(name => NamedOnnxValue.CreateFromTensor(name, tensors[name])).ToList();
            using (IDisposableReadOnlyCollection<DisposableNamedOnnxValue> outputs = session.Run(inputs))
            {
                return outputs.ToDictionary(output => output.Name, output => output.AsTensor<float>().ToDenseTensor());
            }
        }

        public void Dispose()
        {
            stem.Dispose();
            block.Dispose();
            decoder.Dispose();
        }
    }
}
