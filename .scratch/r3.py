exec(open('/work/h/learn/.scratch/roots.py').read())
import re
p='/work/h/learn/kernels/definitions/learnable.py'; s=open(p).read()
for n in ('pau_a','pau_b','pau_c','pau_nonsafe'):
    i=s.index(f'def {n}('); j=s.rindex('@activation',0,i)
    t=s[j:i]
    d={r:roots(n,r) for r in ('value','derivative')+(('second_derivative',) if 'nons' in n else ())}
    t=re.sub(r'roots=\{.*\},\n', '# for each of the examples\n    roots='+repr(d)+',\n', t)
    t=re.sub(r'lipschitz=.*,\n', f'lipschitz={math.ceil(lip(n)*1e11)/1e11:.11f},\n', t)
    s=s[:j]+t+s[i:]
open(p,'w').write(s)
