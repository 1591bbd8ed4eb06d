// Interface BUNDLE STREAMING_BUNDLE: what an application in C# needs, one line for each.
using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Threading;
using TisdissRt;

internal sealed class Told : IProgress<double>
{
    internal readonly List<double> Shares = new List<double>();
    internal Action<double> Then = done => { };

    public void Report(double done)
    {
        Shares.Add(done);
        Then(done);
    }
}

internal static class Program
{
    private static void Main(string[] arguments)
    {
        var random = new Random(0);
        float[] mix = Enumerable.Range(0, 80000).Select(i => (float)(0.2 * random.NextDouble() - 0.1)).ToArray();
        using (var separator = new Separator(arguments[0]))
        {
            float[][] voices = separator.Separate(mix);
            Progress(separator, mix);
            var rows = new float[2 * mix.Length];
            separator.Separate(mix, new Span<float>(rows));
            Console.WriteLine($"spans: {rows.SequenceEqual(voices.SelectMany(voice => voice))}");
            Console.WriteLine($"rows: {Thrown(() => separator.Separate(mix, new Span<float>(rows, 0, 5)))}");
            Console.WriteLine($"version: {separator.Info.OnnxRuntimeVersion}");
            foreach (RunOptions impossible in new[]
            {
                new RunOptions { BudgetMs = 0 }, new RunOptions { Depth = -1 }, new RunOptions { WindowS = 0 }
            })
            {
                Console.WriteLine($"impossible: {Thrown(() => separator.Separate(mix, impossible))}");
            }
            var files = Directory.GetFiles(arguments[0]).ToDictionary(Path.GetFileName, File.ReadAllBytes);
            using (var inMemory = new Separator(files))
            {
                Console.WriteLine($"memory: {inMemory.Separate(mix)[1].SequenceEqual(voices[1])}");
            }
        }
        using (var separator = new Separator(arguments[1]))
        using (SeparationStream stream = separator.OpenStream())
        {
            var rows = new float[2 * stream.Ready(mix.Length)];
            Console.WriteLine($"stream: {stream.Process(new ReadOnlySpan<float>(mix), rows) == rows.Length / 2}");
            Console.WriteLine($"ready: {Thrown(() => stream.Ready(-1))}");
        }
        Console.WriteLine($"folder: {Thrown(() => new Separator((string)null))}");
    }

    private static void Progress(Separator separator, float[] mix)
    {
        var told = new Told();
        separator.Separate(mix, null, told);
        Console.WriteLine($"progress: {told.Shares.First()} to {told.Shares.Last()}, {told.Shares.Count > 2}");
        var source = new CancellationTokenSource();
        told.Then = done => source.Cancel();
        Console.WriteLine($"cancelled: {Thrown(() => separator.Separate(mix, null, told, source.Token))}");
        told.Then = done => throw new InvalidOperationException("mine");
        Console.WriteLine($"failed: {Thrown(() => separator.Separate(mix, null, told))}");
    }

    private static string Thrown(Action action)
    {
        try
        {
            action();
        }
        catch (Exception exception)
        {
            return exception.GetType().Name;
        }
        return "nothing";
    }
}
