exec(open('/work/h/learn/.scratch/roots.py').read())
for n in ('pau_a','pau_b','pau_c','pau_nonsafe'):
    print(n,repr({r:roots(n,r) for r in ('value','derivative')+(('second_derivative',) if 'nons' in n else ())}), lip(n), *(f"{v}" for v in REFERENCE[n].value(np.array([-1e30,1e30,np.inf]),*DEFINITIONS[n].examples[0])))
