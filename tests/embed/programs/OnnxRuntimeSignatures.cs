// The part of Microsoft.ML.OnnxRuntime that PlainLoop.cs uses: signatures only, to check its types.
using System;
using System.Collections;
using System.Collections.Generic;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace Microsoft.ML.OnnxRuntime
{
    public class NodeMetadata { }

    public class NamedOnnxValue
    {
        public string Name => throw new NotImplementedException();

        public static NamedOnnxValue CreateFromTensor<T>(string name, Tensor<T> value) => throw new NotImplementedException();

        public Tensor<T> AsTensor<T>() => throw new NotImplementedException();
    }

    public class DisposableNamedOnnxValue : NamedOnnxValue, IDisposable
    {
        public void Dispose() => throw new NotImplementedException();
    }

    public interface IDisposableReadOnlyCollection<T> : IReadOnlyCollection<T>, IReadOnlyList<T>, IDisposable { }

    public class InferenceSession : IDisposable
    {
        public InferenceSession(string modelPath) => throw new NotImplementedException();

        public IReadOnlyDictionary<string, NodeMetadata> InputMetadata => throw new NotImplementedException();

        public IDisposableReadOnlyCollection<DisposableNamedOnnxValue> Run(IReadOnlyCollection<NamedOnnxValue> inputs) =>
            throw new NotImplementedException();

        public void Dispose() => throw new NotImplementedException();
    }
}

namespace Microsoft.ML.OnnxRuntime.Tensors
{
    public abstract class Tensor<T> : IEnumerable<T>
    {
        public virtual DenseTensor<T> ToDenseTensor() => throw new NotImplementedException();

        public IEnumerator<T> GetEnumerator() => throw new NotImplementedException();

        IEnumerator IEnumerable.GetEnumerator() => throw new NotImplementedException();
    }

    public class DenseTensor<T> : Tensor<T>
    {
        public DenseTensor(Memory<T> memory, ReadOnlySpan<int> dimensions, bool reverseStride = false) =>
            throw new NotImplementedException();
    }
}
